import java.util.Arrays;
import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;

/**
 * Apache's broker with its defaults; one queue of the program `Choosing` honours priorities, and messages can
 * be scheduled, as by default with ours. Arguments: data directory, port (0: any), URLs of further connectors.
 */
public final class ApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = Serving.persistentBroker(arguments);
        broker.setSchedulerSupport(true);
        PolicyEntry prioritized = new PolicyEntry();
        prioritized.setQueue("interop.choosing.priorities");
        prioritized.setPrioritizedMessages(true);
        PolicyMap policies = new PolicyMap();
        policies.setPolicyEntries(List.of(prioritized));
        broker.setDestinationPolicy(policies);
        broker.setPlugins(new BrokerPlugin[] {Serving.users()});
        Serving.serve(broker, arguments, Arrays.copyOfRange(arguments, 2, arguments.length));
    }
}
