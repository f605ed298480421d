import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.ProducerInfo;

/**
 * What a broker tells of destinations that are full, of producers too fast and of consumers too slow.
 * Arguments: URL; anything more: what Apache's broker does not tell.
 */
public final class Alarms {
    private static final String PREFIX = "ActiveMQ.Advisory.";
    private static final int COUNT = 60;

    private static String url;
    private static Session watching;
    private static Connection acting;
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        Connection watcher = Jms.connect(url);
        watching = watcher.createSession(false, Session.AUTO_ACKNOWLEDGE);
        acting = Jms.factory(url).createConnection();
        acting.setClientID("interop-alarms");
        acting.start();
        session = acting.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        if (arguments.length > 1) {
            slow("queue");
            dispatched();
        } else {
            full("queue");
            full("topic");
            slow("topic");
            slow("durable");
            silent();
        }
        acting.close();
        watcher.close();
    }

    /** More is sent than there is memory for, while a consumer takes nothing yet. */
    private static void full(String kind) throws Exception {
        String name = "interop.alarms.full." + kind;
        ActiveMQDestination place = destination(kind, name);
        MessageConsumer full = watcher("FULL.>");
        MessageConsumer fast = watcher("FastProducer.>");
        MessageConsumer consumer = session.createConsumer(destination(kind, name + "?consumer.prefetchSize=1"));
        Connection sending = Jms.connect(url + "?jms.alwaysSyncSend=true");
        Thread sender = new Thread(() -> send(sending, place));
        sender.start();
        Message first = full.receive(Jms.WAIT_MS);
        Jms.fact("full, " + kind, Advisories.described(first));
        Jms.fact("names the memory of it", first.getStringProperty("usageName").contains("memory")
            && first.getStringProperty("usageName").contains(name));
        Jms.fact("used", first.getLongProperty("usageCount") > 100_000);
        Message producer = fast.receive(Jms.WAIT_MS);
        Jms.fact("too fast, " + kind, Advisories.described(producer));
        ProducerInfo info = (ProducerInfo) ((ActiveMQMessage) producer).getDataStructure();
        Jms.fact("who", info.getProducerId().toString().equals(producer.getStringProperty("producerId"))
            && info.getDestination().equals(place));
        Jms.fact("still sending", sender.isAlive());
        int received = 0;
        for (Message each = consumer.receive(Jms.WAIT_MS); each != null; each = consumer.receive(Jms.WAIT_MS)) {
            each.acknowledge();
            received++;
            if (received == COUNT) {
                break;
            }
        }
        Jms.fact("received in the end", received);
        sender.join(Jms.WAIT_MS);
        Jms.fact("sent in the end", !sender.isAlive());
        sending.close();
        consumer.close();
        full.close();
        fast.close();
    }

    private static void send(Connection sending, ActiveMQDestination place) {
        try {
            Session own = sending.createSession(false, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = own.createProducer(place);
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            for (int count = 0; count < COUNT; count++) {
                producer.send(own.createTextMessage("x".repeat(10_000)));
            }
        } catch (JMSException failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** A consumer that acknowledges nothing. */
    private static void slow(String kind) throws Exception {
        String name = "interop.alarms.slow." + kind;
        MessageConsumer slow = watcher("SlowConsumer.>");
        ActiveMQDestination slowly = destination(kind, name + "?consumer.prefetchSize=2");
        MessageConsumer consumer = kind.equals("durable")
            ? session.createDurableSubscriber((Topic) slowly, "slow")
            : session.createConsumer(slowly);
        MessageProducer producer = session.createProducer(destination(kind, name));
        for (int number = 0; number < 10; number++) {
            producer.send(session.createTextMessage("m" + number));
        }
        Message told = slow.receive(Jms.WAIT_MS);
        Jms.fact("slow, " + kind, Advisories.described(told));
        ConsumerInfo info = (ConsumerInfo) ((ActiveMQMessage) told).getDataStructure();
        Jms.fact("who", info.getConsumerId().toString().equals(told.getStringProperty("consumerId"))
            && info.getDestination().getPhysicalName().equals(name) && info.getPrefetchSize() == 2);
        Jms.fact("told once", slow.receive(Jms.NOTHING_MS) == null);
        consumer.close();
        producer.close();
        slow.close();
    }

    /** What ActiveMQ tells since 5.18. */
    private static void dispatched() throws Exception {
        MessageConsumer told = watcher("MessageDispatched.>");
        for (String kind : new String[] {"queue", "topic"}) {
            ActiveMQDestination place = destination(kind, "interop.alarms.told." + kind);
            MessageConsumer consumer = session.createConsumer(place);
            MessageProducer producer = session.createProducer(place);
            producer.send(session.createTextMessage("m"));
            Jms.fact("received", Jms.receive(consumer));
            Jms.fact("dispatched, " + kind, Advisories.described(told.receive(Jms.WAIT_MS)));
            consumer.close();
            producer.close();
        }
        told.close();
    }

    /** Where no policy asks for it, nothing is told. */
    private static void silent() throws Exception {
        MessageConsumer slow = watcher("SlowConsumer.>");
        MessageConsumer consumer =
            session.createConsumer(session.createTopic("interop.alarms.silent?consumer.prefetchSize=2"));
        MessageProducer producer = session.createProducer(session.createTopic("interop.alarms.silent"));
        for (int number = 0; number < 10; number++) {
            producer.send(session.createTextMessage("m" + number));
        }
        Jms.fact("silent", slow.receive(Jms.NOTHING_MS) == null);
        consumer.close();
        slow.close();
    }

    private static MessageConsumer watcher(String topics) throws JMSException {
        return watching.createConsumer(watching.createTopic(PREFIX + topics));
    }

    private static ActiveMQDestination destination(String kind, String name) throws JMSException {
        return (ActiveMQDestination) (kind.equals("queue") ? session.createQueue(name) : session.createTopic(name));
    }
}
