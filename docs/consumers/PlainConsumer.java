import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Keeps each event of the log as a line of a file, exactly once: `PlainConsumer BOOTSTRAP FILE`.
 * A line is whole or not there, and has the position behind it: "partition offset epoch value". With JDBC it is a
 * transaction that writes the two.
 */
public class PlainConsumer {
    static final String TOPIC = "chat.group.events.v1";
    static final ObjectMapper JSON = new ObjectMapper();
    final Map<Integer, long[]> places = new HashMap<>(); // partition -> next offset, epoch in force there
    final Map<String, Long> last = new HashMap<>(); // group -> seq

    /** The line for the next record of a partition; null if there is none to write. */
    String take(ConsumerRecord<String, String> record, String log) throws Exception {
        long epoch = places.getOrDefault(record.partition(), new long[] {0, -1})[1];
        if (header(record, "kind").equals("claim")) {
            epoch = record.offset();
        } else if (Long.parseLong(header(record, "epoch")) < epoch) {
            return null; // void: its writer was replaced before
        } else if (last.containsKey(record.key())) {
            long behind = Long.parseLong(header(record, "seq")) - last.get(record.key());
            if (behind > 1) throw new IllegalStateException(record.key() + ": the place in the log was lost");
            if (behind < 1) return null; // kept already
        }
        String line = record.partition() + " " + (record.offset() + 1) + " " + epoch + " " + record.value();
        know(line, log);
        return line + "\n";
    }

    /** Take in a line that is kept, or will be. */
    void know(String line, String log) throws Exception {
        String[] parts = line.split(" ", 4);
        places.put(Integer.valueOf(parts[0]), new long[] {Long.parseLong(parts[1]), Long.parseLong(parts[2])});
        var value = JSON.readTree(parts[3]);
        if (value.has("seq")) last.put(value.get("group").asText(), value.get("seq").asLong());
        else if (!value.get("log").asText().equals(log))
            throw new IllegalStateException("the log was replaced: what is kept is void, see docs/consumers.md");
    }

    static String header(ConsumerRecord<String, String> record, String name) {
        return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    void follow(String bootstrap, Path path) throws Exception {
        var kafka = Map.<String, Object>of("bootstrap.servers", bootstrap, "auto.offset.reset", "none");
        var utf8 = new StringDeserializer();
        try (var admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap));
                var file = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                var consumer = new KafkaConsumer<>(kafka, utf8, utf8)) {
            String log = admin.describeTopics(List.of(TOPIC)).allTopicNames().get().get(TOPIC).topicId().toString();
            String kept = new String(Files.readAllBytes(path), StandardCharsets.UTF_8);
            kept = kept.substring(0, kept.lastIndexOf('\n') + 1); // what a crash cut is read again
            for (String line : kept.lines().toList()) know(line, log);
            file.truncate(kept.getBytes(StandardCharsets.UTF_8).length).position(file.size());
            var partitions = consumer.partitionsFor(TOPIC).stream().map(p -> new TopicPartition(TOPIC, p.partition()));
            consumer.assign(partitions.toList());
            for (var p : consumer.assignment()) consumer.seek(p, places.getOrDefault(p.partition(), new long[] {0})[0]);
            while (true) {
                var lines = new StringBuilder();
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    String line = take(record, log);
                    if (line != null) lines.append(line);
                }
                var bytes = ByteBuffer.wrap(lines.toString().getBytes(StandardCharsets.UTF_8));
                while (bytes.hasRemaining()) file.write(bytes);
                file.force(false);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        new PlainConsumer().follow(arguments[0], Path.of(arguments[1]));
    }
}
