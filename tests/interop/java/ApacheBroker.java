import java.io.File;
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
 * Arguments: data directory, port (0: any). Ends when standard input closes.
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
        broker.start();
        broker.waitUntilStarted();
        Jms.fact("ready", "tcp://127.0.0.1:" + connector.getConnectUri().getPort());
        while (System.in.read() != -1) {
            continue;
        }
        broker.stop();
        broker.waitUntilStopped();
    }
}
