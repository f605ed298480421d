import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.broker.region.policy.VMPendingQueueMessageStoragePolicy;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.store.kahadb.KahaDBPersistenceAdapter;
import org.apache.activemq.util.IntrospectionSupport;

/**
 * Apache's broker with policies, said as ours has them: `policy.queue.PATTERN.NAME=VALUE`.
 * Arguments: data directory, port (0: any), policies. Ends when standard input closes.
 */
public final class PolicyApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setBrokerName("apache");
        broker.setUseJmx(false);
        broker.setUseShutdownHook(false);
        broker.setDataDirectoryFile(new File(arguments[0]));
        KahaDBPersistenceAdapter store = new KahaDBPersistenceAdapter();
        store.setDirectory(new File(arguments[0], "kahadb"));
        broker.setPersistenceAdapter(store);
        broker.setDestinationPolicy(policies(List.of(arguments).subList(2, arguments.length)));
        TransportConnector connector = broker.addConnector("tcp://127.0.0.1:" + arguments[1]);
        broker.start();
        broker.waitUntilStarted();
        Jms.fact("ready", "tcp://127.0.0.1:" + connector.getConnectUri().getPort());
        while (System.in.read() != -1) {
            continue;
        }
        broker.stop();
        broker.waitUntilStopped();
    }

    private static PolicyMap policies(List<String> lines) {
        Map<String, PolicyEntry> entries = new LinkedHashMap<>();
        for (String line : lines) {
            String key = line.substring("policy.".length(), line.indexOf('='));
            String value = line.substring(line.indexOf('=') + 1);
            String kind = key.substring(0, key.indexOf('.'));
            String name = key.substring(key.lastIndexOf('.') + 1);
            String pattern = key.substring(kind.length() + 1, key.lastIndexOf('.'));
            byte type = kind.equals("queue") ? ActiveMQDestination.QUEUE_TYPE : ActiveMQDestination.TOPIC_TYPE;
            PolicyEntry entry = entries.computeIfAbsent(kind + ":" + pattern, unused -> new PolicyEntry());
            entry.setDestination(ActiveMQDestination.createDestination(pattern, type));
            if (name.equals("pendingQueuePolicy")) {
                entry.setPendingQueuePolicy(new VMPendingQueueMessageStoragePolicy());
            } else if (!IntrospectionSupport.setProperty(entry, name, value)) {
                throw new IllegalArgumentException(line);
            }
        }
        PolicyMap map = new PolicyMap();
        map.setPolicyEntries(new ArrayList<>(entries.values()));
        return map;
    }
}
