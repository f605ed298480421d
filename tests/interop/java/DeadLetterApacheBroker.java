import java.util.List;
import org.apache.activemq.RedeliveryPolicy;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.policy.DeadLetterStrategy;
import org.apache.activemq.broker.region.policy.DiscardingDeadLetterStrategy;
import org.apache.activemq.broker.region.policy.IndividualDeadLetterStrategy;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.broker.region.policy.RedeliveryPolicyMap;
import org.apache.activemq.broker.util.RedeliveryPlugin;
import org.apache.activemq.command.ActiveMQQueue;

/**
 * Apache's broker with the dead letter strategies and the redelivery that the programs `DeadLetters` and
 * `Redeliveries` are about. Arguments: data directory, port (0: any).
 */
public final class DeadLetterApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = Serving.persistentBroker(arguments);
        broker.setSchedulerSupport(true);
        IndividualDeadLetterStrategy queues = new IndividualDeadLetterStrategy();
        queues.setProcessNonPersistent(true);
        IndividualDeadLetterStrategy unexpired = new IndividualDeadLetterStrategy();
        unexpired.setProcessExpired(false);
        IndividualDeadLetterStrategy topics = new IndividualDeadLetterStrategy();
        topics.setTopicPrefix("interop.dead.");
        topics.setDestinationPerDurableSubscriber(true);
        PolicyMap policies = new PolicyMap();
        policies.setPolicyEntries(List.of(
            queue("interop.dlq.individual.>", queues),
            queue("interop.dlq.unexpired", unexpired),
            queue("interop.dlq.discarding", new DiscardingDeadLetterStrategy()),
            topic("interop.dlq.topic", topics)));
        broker.setDestinationPolicy(policies);
        broker.setPlugins(new BrokerPlugin[] {redelivery()});
        Serving.serve(broker, arguments);
    }

    private static PolicyEntry queue(String pattern, DeadLetterStrategy strategy) {
        PolicyEntry entry = new PolicyEntry();
        entry.setQueue(pattern);
        entry.setDeadLetterStrategy(strategy);
        entry.setExpireMessagesPeriod(500);
        return entry;
    }

    private static PolicyEntry topic(String name, DeadLetterStrategy strategy) {
        PolicyEntry entry = new PolicyEntry();
        entry.setTopic(name);
        entry.setDeadLetterStrategy(strategy);
        entry.setExpireMessagesPeriod(500);
        return entry;
    }

    private static RedeliveryPlugin redelivery() {
        RedeliveryPolicy policy = new RedeliveryPolicy();
        policy.setQueue("interop.redelivery");
        policy.setMaximumRedeliveries(2);
        policy.setInitialRedeliveryDelay(1_000);
        policy.setRedeliveryDelay(1_000);
        RedeliveryPolicyMap map = new RedeliveryPolicyMap();
        map.put(new ActiveMQQueue("interop.redelivery"), policy);
        RedeliveryPlugin plugin = new RedeliveryPlugin();
        plugin.setRedeliveryPolicyMap(map);
        return plugin;
    }
}
