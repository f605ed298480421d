import java.io.File;
import java.util.ArrayList;
import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.SimpleAuthenticationPlugin;
import org.apache.activemq.store.kahadb.KahaDBPersistenceAdapter;

/**
 * Apache's broker with its defaults: KahaDB, the journal synchronised for every acknowledgement; one queue of
 * the program `Choosing` honours priorities, and messages can be scheduled, which ours do by default.
 * Arguments: data directory, port (0: any), the URLs of further connectors; of each of these the port is
 * printed under the name of its scheme. Ends when standard input closes.
 */
public final class ApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setBrokerName("apache");
        broker.setUseJmx(false);
        broker.setSchedulerSupport(true);
        broker.setUseShutdownHook(false);
        broker.setDataDirectoryFile(new File(arguments[0]));
        KahaDBPersistenceAdapter store = new KahaDBPersistenceAdapter();
        store.setDirectory(new File(arguments[0], "kahadb"));
        broker.setPersistenceAdapter(store);
        SimpleAuthenticationPlugin users = new SimpleAuthenticationPlugin(
            List.of(new AuthenticationUser("admin", "admin", "admins")));
        PolicyEntry prioritized = new PolicyEntry();
        prioritized.setQueue("interop.choosing.priorities");
        prioritized.setPrioritizedMessages(true);
        PolicyMap policies = new PolicyMap();
        policies.setPolicyEntries(List.of(prioritized));
        broker.setDestinationPolicy(policies);
        broker.setPlugins(new BrokerPlugin[] {users});
        TransportConnector connector = broker.addConnector("tcp://127.0.0.1:" + arguments[1]);
        List<TransportConnector> others = new ArrayList<>();
        for (int index = 2; index < arguments.length; index++) {
            others.add(broker.addConnector(arguments[index]));
        }
        broker.start();
        broker.waitUntilStarted();
        for (TransportConnector other : others) {
            Jms.fact(other.getUri().getScheme(), other.getConnectUri().getPort());
        }
        Jms.fact("ready", "tcp://127.0.0.1:" + connector.getConnectUri().getPort());
        while (System.in.read() != -1) {
            continue;
        }
        broker.stop();
        broker.waitUntilStopped();
    }
}
