import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.policy.AbortSlowAckConsumerStrategy;
import org.apache.activemq.broker.region.policy.AbortSlowConsumerStrategy;
import org.apache.activemq.broker.region.policy.FilePendingSubscriberMessageStoragePolicy;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.broker.region.policy.VMPendingQueueMessageStoragePolicy;
import org.apache.activemq.broker.region.policy.VMPendingSubscriberMessageStoragePolicy;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.util.IntrospectionSupport;

/**
 * Apache's broker with policies and properties, said as ours has them: `policy.queue.PATTERN.NAME=VALUE`.
 * Arguments: data directory, port (0: any), properties.
 */
public final class PolicyApacheBroker {
    private static final String STRATEGY = "slowConsumerStrategy";

    public static void main(String[] arguments) throws Exception {
        BrokerService broker = Serving.persistentBroker(arguments);
        Map<String, PolicyEntry> entries = new LinkedHashMap<>();
        for (String line : List.of(arguments).subList(2, arguments.length)) {
            String key = line.substring(0, line.indexOf('='));
            String value = line.substring(line.indexOf('=') + 1);
            boolean known = key.startsWith("policy.")
                ? enter(entries, key.substring("policy.".length()), value)
                : IntrospectionSupport.setProperty(broker, key, value);
            if (!known) {
                throw new IllegalArgumentException(line);
            }
        }
        PolicyMap map = new PolicyMap();
        map.setPolicyEntries(new ArrayList<>(entries.values()));
        broker.setDestinationPolicy(map);
        Serving.serve(broker, arguments);
    }

    private static boolean enter(Map<String, PolicyEntry> entries, String key, String value) {
        int begin = key.indexOf('.') + 1;
        int end = key.contains("." + STRATEGY) ? key.indexOf("." + STRATEGY) : key.lastIndexOf('.');
        String kind = key.substring(0, begin - 1);
        String pattern = key.substring(begin, end);
        byte type = kind.equals("queue") ? ActiveMQDestination.QUEUE_TYPE : ActiveMQDestination.TOPIC_TYPE;
        PolicyEntry entry = entries.computeIfAbsent(kind + ":" + pattern, unused -> new PolicyEntry());
        entry.setDestination(ActiveMQDestination.createDestination(pattern, type));
        return set(entry, key.substring(end + 1), value);
    }

    private static boolean set(PolicyEntry entry, String name, String value) {
        switch (name) {
            case "pendingQueuePolicy":
                entry.setPendingQueuePolicy(new VMPendingQueueMessageStoragePolicy());
                return true;
            case "pendingSubscriberPolicy":
                entry.setPendingSubscriberPolicy(value.equals("vmCursor")
                    ? new VMPendingSubscriberMessageStoragePolicy()
                    : new FilePendingSubscriberMessageStoragePolicy());
                return true;
            case STRATEGY:
                entry.setSlowConsumerStrategy(value.equals("abortSlowConsumerStrategy")
                    ? new AbortSlowConsumerStrategy()
                    : new AbortSlowAckConsumerStrategy());
                return true;
            default:
                Object target = name.startsWith(STRATEGY + ".") ? entry.getSlowConsumerStrategy() : entry;
                return IntrospectionSupport.setProperty(target, name.substring(name.lastIndexOf('.') + 1), value);
        }
    }
}
