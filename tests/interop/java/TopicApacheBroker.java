import java.util.ArrayList;
import java.util.List;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.policy.AbortSlowAckConsumerStrategy;
import org.apache.activemq.broker.region.policy.AbortSlowConsumerStrategy;
import org.apache.activemq.broker.region.policy.ConstantPendingMessageLimitStrategy;
import org.apache.activemq.broker.region.policy.FixedCountSubscriptionRecoveryPolicy;
import org.apache.activemq.broker.region.policy.FixedSizedSubscriptionRecoveryPolicy;
import org.apache.activemq.broker.region.policy.LastImageSubscriptionRecoveryPolicy;
import org.apache.activemq.broker.region.policy.MessageEvictionStrategy;
import org.apache.activemq.broker.region.policy.OldestMessageEvictionStrategy;
import org.apache.activemq.broker.region.policy.OldestMessageWithLowestPriorityEvictionStrategy;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;
import org.apache.activemq.broker.region.policy.PrefetchRatePendingMessageLimitStrategy;
import org.apache.activemq.broker.region.policy.SubscriptionRecoveryPolicy;
import org.apache.activemq.broker.region.policy.TimedSubscriptionRecoveryPolicy;
import org.apache.activemq.broker.region.policy.UniquePropertyMessageEvictionStrategy;

/**
 * Apache's broker with the policies that the program `Topics` is about.
 * Arguments: data directory, port (0: any).
 */
public final class TopicApacheBroker {
    private static final List<PolicyEntry> ENTRIES = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        BrokerService broker = Serving.persistentBroker(arguments);
        FixedCountSubscriptionRecoveryPolicy count = new FixedCountSubscriptionRecoveryPolicy();
        count.setMaximumSize(2);
        recovery("count", count);
        recovery("last", new LastImageSubscriptionRecoveryPolicy());
        recovery("timed", new TimedSubscriptionRecoveryPolicy());
        recovery("sized", new FixedSizedSubscriptionRecoveryPolicy());
        limit("oldest", 2, new OldestMessageEvictionStrategy());
        limit("priority", 2, new OldestMessageWithLowestPriorityEvictionStrategy());
        UniquePropertyMessageEvictionStrategy unique = new UniquePropertyMessageEvictionStrategy();
        unique.setPropertyName("share");
        limit("unique", 3, unique);
        PrefetchRatePendingMessageLimitStrategy rate = new PrefetchRatePendingMessageLimitStrategy();
        rate.setMultiplier(1.5);
        topic("rate").setPendingMessageLimitStrategy(rate);
        AbortSlowConsumerStrategy slow = new AbortSlowConsumerStrategy();
        slow.setCheckPeriod(200);
        slow.setMaxSlowDuration(400);
        topic("full").setSlowConsumerStrategy(slow);
        AbortSlowAckConsumerStrategy silent = new AbortSlowAckConsumerStrategy();
        silent.setCheckPeriod(200);
        silent.setMaxSlowDuration(200);
        silent.setMaxTimeSinceLastAck(400);
        topic("silent").setSlowConsumerStrategy(silent);
        PolicyMap policies = new PolicyMap();
        policies.setPolicyEntries(ENTRIES);
        broker.setDestinationPolicy(policies);
        Serving.serve(broker, arguments);
    }

    private static PolicyEntry topic(String name) {
        PolicyEntry entry = new PolicyEntry();
        entry.setTopic("interop.topics." + name);
        ENTRIES.add(entry);
        return entry;
    }

    private static void recovery(String name, SubscriptionRecoveryPolicy policy) {
        topic(name).setSubscriptionRecoveryPolicy(policy);
    }

    private static void limit(String name, int limit, MessageEvictionStrategy eviction) {
        ConstantPendingMessageLimitStrategy strategy = new ConstantPendingMessageLimitStrategy();
        strategy.setLimit(limit);
        PolicyEntry entry = topic(name);
        entry.setPendingMessageLimitStrategy(strategy);
        entry.setMessageEvictionStrategy(eviction);
    }
}
