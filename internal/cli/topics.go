package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/broker"
	"weir/internal/platform/kafka"
)

// envRulesTopics lists the topics that the rules stream reads.
const envRulesTopics = "WEIR_RULES_TOPICS"

// topicsCommand is `weir topics`: it creates topics on a log that is not embedded.
func topicsCommand() *cli.Command {
	return &cli.Command{
		Name:  "topics",
		Usage: "Make the topics on Kafka or Redpanda",
		Subcommands: []*cli.Command{{
			Name:  "create",
			Usage: "make the topics that are missing; those that are there are compared and left as they are",
			Description: `
Partitions bound how many processes share a stream's work. With three replicas
or more, an event is acknowledged when two servers have it.

  weir topics create --brokers kafka-1:9092,kafka-2:9092
  weir topics create --brokers 127.0.0.1:9092 --replicas 1
  WEIR_KAFKA_PASSWORD=… weir topics create --brokers kafka-1:9093 --tls \
    --sasl-mechanism SCRAM-SHA-512 --sasl-user weir`[1:],
			Flags: append([]cli.Flag{
				&cli.StringFlag{Name: "brokers", EnvVars: []string{kafka.EnvBrokers}, Required: true, Usage: "`ADDR,…` of the log"},
				choice("profile", "how many partitions; standalone has few", "cluster", "standalone"),
				&cli.StringFlag{Name: "also", EnvVars: []string{envRulesTopics},
					Usage: "`NAME,…` of topics of your own, made as that of raw events, so that rules can join them"},
				&cli.IntFlag{Name: "replicas", Value: 3, Usage: "`N` servers that keep each record; 1 where there is one server"},
			}, securedFlags()...),
			Action: createTopics,
		}},
	}
}

func createTopics(c *cli.Context) error {
	profiles := map[string][]broker.Topic{"cluster": broker.ClusterTopics(), "standalone": broker.Topics()}
	topics := broker.Also(profiles[c.String("profile")], c.String("also"))
	replicas := c.Int("replicas")
	if replicas < 1 || replicas > 100 {
		return usagef("a topic cannot have %d replicas: choose how many servers keep each record with --replicas", replicas)
	}
	log, err := clusterAt(c, c.String("brokers"))
	if err != nil {
		return err
	}
	made, err := broker.CreateTopics(c.Context, log, topics, int16(replicas))
	different := 0
	for _, m := range made {
		state := "was there"
		if m.Created {
			state = "created"
		}
		if len(m.Differences) > 0 {
			different++
			state += ", and differs: " + strings.Join(m.Differences, "; ")
		}
		if _, err := fmt.Fprintf(c.App.Writer, "%s: %d partitions, kept %s: %s\n", m.Name, m.Partitions, m.Retention,
			state); err != nil {
			return err
		}
	}
	if err == nil && different > 0 {
		return cli.Exit(fmt.Errorf("%d topics differ and were left as they are: change them with your Kafka's own tools",
			different), exitFinding)
	}
	return err
}
