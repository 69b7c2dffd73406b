import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;

/** The events of tests/bench/fleetlog, in memory: reading them is no part of what is measured. */
final class Events {
  static int[] device;
  static long[] at; // in milliseconds
  static double[] temp, battery, vibration;

  static void read(String path) throws IOException {
    File file = new File(path);
    int n = (int) (file.length() / 36);
    device = new int[n];
    at = new long[n];
    temp = new double[n];
    battery = new double[n];
    vibration = new double[n];
    try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(file), 1 << 20))) {
      for (int i = 0; i < n; i++) {
        device[i] = in.readInt();
        at[i] = in.readLong() / 1000;
        temp[i] = in.readDouble();
        battery[i] = in.readDouble();
        vibration[i] = in.readDouble();
      }
    }
  }

  /** Processor time of all threads, with the compiler's and the collector's, in nanoseconds. */
  static long cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }
}
