import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.policy.ConstantPendingMessageLimitStrategy;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.plugin.StatisticsBrokerPlugin;

/**
 * Apache's broker, in memory, that answers questions for statistics, with destinations that tell all there is
 * to tell. Arguments as for all, the directory is not used.
 */
public final class ObservedApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setBrokerName("observed");
        broker.setUseShutdownHook(false);
        broker.setPersistent(false);
        broker.getManagementContext().setCreateConnector(false);
        PolicyEntry queues = outspoken();
        queues.setQueue("interop.loud.>");
        PolicyEntry topics = outspoken();
        topics.setTopic("interop.loud.>");
        ConstantPendingMessageLimitStrategy limit = new ConstantPendingMessageLimitStrategy();
        limit.setLimit(1);
        topics.setPendingMessageLimitStrategy(limit);
        PolicyMap policies = new PolicyMap();
        policies.setPolicyEntries(List.of(queues, topics));
        broker.setDestinationPolicy(policies);
        broker.setPlugins(new BrokerPlugin[] {Serving.users(), new StatisticsBrokerPlugin()});
        Serving.serve(broker, arguments);
    }

    private static PolicyEntry outspoken() {
        PolicyEntry entry = new PolicyEntry();
        entry.setSendAdvisoryIfNoConsumers(true);
        entry.setAdvisoryForSlowConsumers(true);
        entry.setAdvisoryForDiscardingMessages(true);
        entry.setAdvisoryForDelivery(true);
        entry.setAdvisoryForConsumed(true);
        return entry;
    }
}
