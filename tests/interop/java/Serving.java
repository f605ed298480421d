import java.io.File;
import java.util.ArrayList;
import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.SimpleAuthenticationPlugin;
import org.apache.activemq.store.kahadb.KahaDBPersistenceAdapter;

/** What all main classes with Apache's broker do. Their first arguments: data directory, port (0: any). */
final class Serving {
    private Serving() {}

    /** A broker without management, that keeps nothing. */
    static BrokerService transientBroker() {
        BrokerService broker = new BrokerService();
        broker.setBrokerName("apache");
        broker.setUseJmx(false);
        broker.setUseShutdownHook(false);
        broker.setPersistent(false);
        return broker;
    }

    /** A broker without management, with KahaDB as it is by default: synchronised for every acknowledgement. */
    static BrokerService persistentBroker(String[] arguments) throws Exception {
        BrokerService broker = transientBroker();
        broker.setPersistent(true);
        broker.setDataDirectoryFile(new File(arguments[0]));
        KahaDBPersistenceAdapter store = new KahaDBPersistenceAdapter();
        store.setDirectory(new File(arguments[0], "kahadb"));
        broker.setPersistenceAdapter(store);
        return broker;
    }

    /** Lets only the programs' user in, and perhaps more. */
    static BrokerPlugin users(AuthenticationUser... others) {
        List<AuthenticationUser> users = new ArrayList<>(List.of(others));
        users.add(new AuthenticationUser("admin", "admin", "admin"));
        return new SimpleAuthenticationPlugin(users);
    }

    /**
     * Serve, say where, and end when standard input closes. Of further connectors the port is printed under the
     * name of the scheme.
     */
    static void serve(BrokerService broker, String[] arguments, String... connectors) throws Exception {
        TransportConnector connector = broker.addConnector("tcp://127.0.0.1:" + arguments[1]);
        List<TransportConnector> others = new ArrayList<>();
        for (String each : connectors) {
            others.add(broker.addConnector(each));
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
