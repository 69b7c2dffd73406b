import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.MockProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.internals.StreamTask;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;

/**
 * One rule of weir's standard set on Kafka Streams: at least once, its windows in RocksDB, with its usual cache. Its test
 * driver makes the task, and a producer that sends nothing: neither network nor a synced log is part of it, which is in
 * its favour. What it took is the time of the topology less that of one that does nothing.
 *
 * <p>The driver itself commits each record, and a commit writes RocksDB's memory to a file, so that 50,000 records take
 * longer than anybody waits. So the task is given its records here, as a consumer's thread does it: 1,000 at a time, with
 * a commit each 30 s, which is what Streams does unless it is told otherwise, and one in the end.
 */
public final class Streams {
  private static final int POLL = 1000;
  private static final long COMMIT_EACH_NANOS = 30_000_000_000L;

  /** n, sum, low and high. */
  static byte[] fold(double temp, byte[] kept) {
    ByteBuffer b = ByteBuffer.wrap(kept);
    long n = b.getLong(0);
    b.putLong(0, n + 1);
    b.putDouble(8, b.getDouble(8) + temp);
    b.putDouble(16, n == 0 ? temp : Math.min(b.getDouble(16), temp));
    b.putDouble(24, n == 0 ? temp : Math.max(b.getDouble(24), temp));
    return kept;
  }

  static byte[] merge(byte[] x, byte[] y) {
    ByteBuffer a = ByteBuffer.wrap(x.clone()), b = ByteBuffer.wrap(y);
    if (a.getLong(0) == 0) {
      return y;
    }
    if (b.getLong(0) > 0) {
      a.putLong(0, a.getLong(0) + b.getLong(0));
      a.putDouble(8, a.getDouble(8) + b.getDouble(8));
      a.putDouble(16, Math.min(a.getDouble(16), b.getDouble(16)));
      a.putDouble(24, Math.max(a.getDouble(24), b.getDouble(24)));
    }
    return a.array();
  }

  /** What a run took, and how many windows it has in the end; sessions are not counted. */
  record Run(long cpu, long results) {}

  static Run run(String rule, int n) throws Exception {
    StreamsBuilder builder = new StreamsBuilder();
    Serde<Integer> key = Serdes.Integer();
    var stream = builder.stream("events", Consumed.with(key, Serdes.Double()));
    KGroupedStream<Integer, Double> events = rule.equals("none") ? null : stream.groupByKey();
    Duration delay = Duration.ofSeconds(5);
    switch (rule) {
      case "none":
        stream.foreach((k, v) -> {});
        break;
      case "minute":
        events.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), delay))
            .aggregate(() -> new byte[32], (k, v, kept) -> fold(v, kept.clone()), Materialized.with(key, Serdes.ByteArray()));
        break;
      case "slide":
        events.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(5), delay).advanceBy(Duration.ofSeconds(30)))
            .aggregate(() -> new byte[32], (k, v, kept) -> fold(v, kept.clone()), Materialized.with(key, Serdes.ByteArray()));
        break;
      case "visits":
        events.windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(30), delay))
            .aggregate(() -> new byte[32], (k, v, kept) -> fold(v, kept.clone()), (k, a, b) -> merge(a, b),
                Materialized.with(key, Serdes.ByteArray()));
        break;
      default:
        throw new IllegalArgumentException("rule " + rule);
    }
    Path dir = Files.createTempDirectory("streams");
    Properties p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer");
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
    p.put(StreamsConfig.STATE_DIR_CONFIG, dir.toString());
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
    try (TopologyTestDriver driver = new TopologyTestDriver(builder.build(), p, Instant.ofEpochMilli(Events.at[0]))) {
      StreamTask task = (StreamTask) of(driver, "task");
      MockProducer<?, ?> producer = (MockProducer<?, ?>) of(driver, "producer");
      long cpu = feed(task, producer, n);
      return new Run(cpu, driver.getAllStateStores().isEmpty() ? 0 : windows(driver));
    } finally {
      Utils.delete(dir.toFile());
    }
  }

  private static Object of(TopologyTestDriver driver, String name) throws ReflectiveOperationException {
    Field f = TopologyTestDriver.class.getDeclaredField(name);
    f.setAccessible(true);
    return f.get(driver);
  }

  private static long feed(StreamTask task, MockProducer<?, ?> producer, int n) {
    TopicPartition from = new TopicPartition("events", 0);
    long before = Events.cpu(), committed = System.nanoTime();
    List<ConsumerRecord<byte[], byte[]>> polled = new ArrayList<>(POLL);
    for (int i = 0; i < n; ) {
      polled.clear();
      for (int end = Math.min(n, i + POLL); i < end; i++) {
        polled.add(new ConsumerRecord<>("events", 0, i, Events.at[i], TimestampType.CREATE_TIME, 4, 8,
            ByteBuffer.allocate(4).putInt(Events.device[i]).array(), ByteBuffer.allocate(8).putDouble(Events.temp[i]).array(),
            new RecordHeaders(), java.util.Optional.empty()));
      }
      task.addRecords(from, polled);
      while (task.process(Events.at[i - 1])) {
        task.maybePunctuateStreamTime();
      }
      if (i == n || System.nanoTime() - committed > COMMIT_EACH_NANOS) {
        task.prepareCommit();
        task.postCommit(true);
        committed = System.nanoTime();
      }
      producer.clear();
    }
    return Events.cpu() - before;
  }

  private static long windows(TopologyTestDriver driver) {
    long n = 0;
    for (StateStore s : driver.getAllStateStores().values()) {
      if (s instanceof ReadOnlyWindowStore) {
        try (KeyValueIterator<?, ?> all = ((ReadOnlyWindowStore<?, ?>) s).all()) {
          for (; all.hasNext(); all.next()) {
            n++;
          }
        }
      }
    }
    return n;
  }

  public static void main(String[] args) throws Exception {
    Events.read(args[1]);
    int n = Events.device.length / 4; // it is slower
    run(args[0], n / 4); // the compiler's work
    run("none", n / 4);
    Run without = run("none", n), with = run(args[0], n);
    System.out.printf("{\"peer\":\"streams\",\"rule\":\"%s\",\"events\":%d,\"results\":%d,\"without\":%.3f,\"cpu\":%.3f}%n",
        args[0], n, with.results, without.cpu / 1e3 / n, (with.cpu - without.cpu) / 1e3 / n);
  }
}
