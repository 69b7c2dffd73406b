import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.cep.CEP;
import org.apache.flink.cep.PatternStream;
import org.apache.flink.cep.functions.PatternProcessFunction;
import org.apache.flink.cep.nfa.aftermatch.AfterMatchSkipStrategy;
import org.apache.flink.cep.pattern.Pattern;
import org.apache.flink.cep.pattern.conditions.SimpleCondition;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.DiscardingSink;
import org.apache.flink.streaming.api.functions.sink.SinkFunction;
import org.apache.flink.streaming.api.functions.source.SourceFunction;
import org.apache.flink.streaming.api.windowing.assigners.EventTimeSessionWindows;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.time.Time;
import org.apache.flink.util.Collector;

/**
 * A rule of plugins/process/rule/testdata on Flink's mini cluster: parallelism 1, state on the heap, no checkpoints, objects
 * reused, which is in its favour. What it took is the time of the job less that of the same job without the rule.
 */
public final class Flink {
  /** An event, a plain object to Flink's serializers. */
  public static final class Event {
    public int device;
    public long at;
    public double temp, battery, vibration;
  }

  /** What a window keeps. */
  public static final class Kept {
    public long n;
    public double sum, low = Double.POSITIVE_INFINITY, high = Double.NEGATIVE_INFINITY;
  }

  static final AtomicLong RESULTS = new AtomicLong();

  static final class Source implements SourceFunction<Event> {
    private final int n;
    private volatile boolean on = true;

    Source(int n) {
      this.n = n;
    }

    @Override
    public void run(SourceContext<Event> out) {
      Event e = new Event();
      for (int i = 0; i < n && on; i++) {
        e.device = Events.device[i];
        e.at = Events.at[i];
        e.temp = Events.temp[i];
        e.battery = Events.battery[i];
        e.vibration = Events.vibration[i];
        out.collect(e);
        if (i % 4096 == 4095) {
          Event fresh = new Event(); // patterns keep what they match
          e = fresh;
        }
      }
    }

    @Override
    public void cancel() {
      on = false;
    }
  }

  static final class Fold implements AggregateFunction<Event, Kept, Kept> {
    @Override
    public Kept createAccumulator() {
      return new Kept();
    }

    @Override
    public Kept add(Event e, Kept k) {
      k.n++;
      k.sum += e.temp;
      k.low = Math.min(k.low, e.temp);
      k.high = Math.max(k.high, e.temp);
      return k;
    }

    @Override
    public Kept getResult(Kept k) {
      return k;
    }

    @Override
    public Kept merge(Kept a, Kept b) {
      a.n += b.n;
      a.sum += b.sum;
      a.low = Math.min(a.low, b.low);
      a.high = Math.max(a.high, b.high);
      return a;
    }
  }

  static final class Counting<T> implements SinkFunction<T> {
    @Override
    public void invoke(T value, Context context) {
      RESULTS.incrementAndGet();
    }
  }

  static long run(String rule, int n) throws Exception {
    StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, new Configuration());
    // a pattern keeps the events that it matches, so that they must not be the same object
    if (!rule.equals("warms")) {
      env.getConfig().enableObjectReuse();
    }
    DataStream<Event> events =
        env.addSource(new Source(n), "events", org.apache.flink.api.common.typeinfo.TypeInformation.of(Event.class))
            .assignTimestampsAndWatermarks(
                WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofSeconds(5)).withTimestampAssigner((e, t) -> e.at));
    KeyedStream<Event, Integer> keyed = events.keyBy(e -> e.device);
    switch (rule) {
      case "none":
        keyed.addSink(new DiscardingSink<>());
        break;
      case "minute":
        keyed.window(TumblingEventTimeWindows.of(Time.minutes(1))).aggregate(new Fold()).addSink(new Counting<>());
        break;
      case "slide":
        keyed.window(SlidingEventTimeWindows.of(Time.minutes(5), Time.seconds(30))).aggregate(new Fold())
            .addSink(new Counting<>());
        break;
      case "visits":
        keyed.window(EventTimeSessionWindows.withGap(Time.seconds(30))).aggregate(new Fold()).addSink(new Counting<>());
        break;
      case "warms":
        Pattern<Event, ?> pattern =
            Pattern.<Event>begin("hot", AfterMatchSkipStrategy.skipPastLastEvent()).where(SimpleCondition.of(e -> e.temp > 60)).times(2).consecutive()
                .followedBy("cool").where(SimpleCondition.of(e -> e.temp < 40)).within(Time.minutes(1));
        PatternStream<Event> found = CEP.pattern(keyed, pattern).inProcessingTime();
        found.process(new PatternProcessFunction<Event, Double>() {
          @Override
          public void processMatch(Map<String, List<Event>> match, Context ctx, Collector<Double> out) {
            out.collect(match.get("cool").get(0).temp);
          }
        }).addSink(new Counting<>());
        break;
      default:
        throw new IllegalArgumentException("rule " + rule);
    }
    RESULTS.set(0);
    long before = Events.cpu();
    env.execute(rule);
    return Events.cpu() - before;
  }

  public static void main(String[] args) throws Exception {
    Events.read(args[1]);
    int n = Events.device.length;
    run(args[0], n / 4); // the compiler's work
    run("none", n / 4);
    long without = run("none", n), with = run(args[0], n);
    System.out.printf("{\"peer\":\"flink\",\"rule\":\"%s\",\"events\":%d,\"results\":%d,\"without\":%.3f,\"cpu\":%.3f}%n", args[0], n,
        RESULTS.get(), without / 1e3 / n, (with - without) / 1e3 / n);
  }
}
