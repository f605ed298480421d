import java.util.ArrayList;
import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.region.DestinationInterceptor;
import org.apache.activemq.broker.region.virtual.CompositeQueue;
import org.apache.activemq.broker.region.virtual.MirroredQueue;
import org.apache.activemq.broker.region.virtual.VirtualDestination;
import org.apache.activemq.broker.region.virtual.VirtualDestinationInterceptor;
import org.apache.activemq.broker.region.virtual.VirtualTopic;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.filter.DestinationMapEntry;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.AuthorizationEntry;
import org.apache.activemq.security.AuthorizationPlugin;
import org.apache.activemq.security.DefaultAuthorizationMap;

/**
 * Apache's broker, in memory, with composite and mirrored queues, another virtual topic, and roles.
 * Arguments as for all, the directory is not used.
 */
public final class GuardedApacheBroker {
    public static void main(String[] arguments) throws Exception {
        BrokerService broker = Serving.transientBroker();
        broker.setDestinationInterceptors(new DestinationInterceptor[] {forwarding(), new MirroredQueue()});
        BrokerPlugin users = Serving.users(new AuthenticationUser("guest", "guest", "guests"));
        broker.setPlugins(new BrokerPlugin[] {users, new AuthorizationPlugin(roles())});
        Serving.serve(broker, arguments);
    }

    private static VirtualDestinationInterceptor forwarding() {
        CompositeQueue both = new CompositeQueue();
        both.setName("guarded.both");
        both.setForwardTo(List.of(new ActiveMQQueue("guarded.left"), new ActiveMQTopic("guarded.right")));
        CompositeQueue copied = new CompositeQueue();
        copied.setName("guarded.copied");
        copied.setForwardTo(List.of(new ActiveMQQueue("guarded.copy")));
        copied.setForwardOnly(false);
        VirtualTopic virtual = new VirtualTopic();
        virtual.setName("VT.>");
        virtual.setPrefix("VC.*.");
        VirtualDestinationInterceptor forwarding = new VirtualDestinationInterceptor();
        forwarding.setVirtualDestinations(new VirtualDestination[] {both, copied, virtual});
        return forwarding;
    }

    @SuppressWarnings("rawtypes") // as its constructor wants them
    private static DefaultAuthorizationMap roles() throws Exception {
        AuthorizationEntry all = new AuthorizationEntry();
        all.setQueue(">");
        grant(all, "admin", "admin", "admin");
        AuthorizationEntry topics = new AuthorizationEntry();
        topics.setTopic(">");
        grant(topics, "admin", "admin", "admin");
        AuthorizationEntry board = new AuthorizationEntry();
        board.setQueue("guarded.board.>");
        grant(board, "guests", "admin", "admin");
        AuthorizationEntry box = new AuthorizationEntry();
        box.setQueue("guarded.box");
        grant(box, "admin", "guests", "guests");
        AuthorizationEntry advisories = new AuthorizationEntry();
        advisories.setTopic("ActiveMQ.Advisory.>");
        grant(advisories, "admin,guests", "admin,guests", "admin,guests");
        List<DestinationMapEntry> entries = new ArrayList<>(List.of(all, topics, board, box, advisories));
        return new DefaultAuthorizationMap(entries);
    }

    private static void grant(AuthorizationEntry entry, String read, String write, String admin) throws Exception {
        entry.setRead(read);
        entry.setWrite(write);
        entry.setAdmin(admin);
    }
}
