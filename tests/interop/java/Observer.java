import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.advisory.ConsumerEventSource;
import org.apache.activemq.advisory.DestinationSource;
import org.apache.activemq.advisory.ProducerEventSource;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTempQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** What happens in a broker, as its advisories tell it: by the client's own classes, and as messages. */
public final class Observer {
    private static final String PREFIX = "ActiveMQ.Advisory.";

    private final String url;
    private final Connection watching;
    private final Connection acting;
    private final Session session;

    private Observer(String url) throws JMSException {
        this.url = url;
        watching = Jms.connect(url);
        ActiveMQConnectionFactory factory = Jms.factory(url);
        factory.getRedeliveryPolicy().setMaximumRedeliveries(0);
        acting = factory.createConnection();
        acting.start();
        session = acting.createSession(false, Session.AUTO_ACKNOWLEDGE);
    }

    public static void main(String[] arguments) throws Exception {
        Observer observer = new Observer(arguments[0]);
        observer.destinations();
        observer.consumers();
        observer.producers();
        observer.connections();
        observer.wildcards();
        observer.messages();
        observer.discarded();
        observer.acting.close();
        observer.watching.close();
    }

    /** Destinations there are, new ones, deleted ones. */
    private void destinations() throws Exception {
        session.createProducer(session.createQueue("interop.observed.before")).close();
        DestinationSource source = ((ActiveMQConnection) watching).getDestinationSource();
        Jms.fact("queue there was", seen(() -> source.getQueues().contains(new ActiveMQQueue("interop.observed.before"))));
        session.createProducer(session.createQueue("interop.observed.queue")).close();
        session.createConsumer(session.createTopic("interop.observed.topic")).close();
        TemporaryQueue temporary = session.createTemporaryQueue();
        ActiveMQTempQueue named = (ActiveMQTempQueue) temporary;
        Jms.fact("queue made", seen(() -> source.getQueues().contains(new ActiveMQQueue("interop.observed.queue"))));
        Jms.fact("topic made", seen(() -> source.getTopics().contains(new ActiveMQTopic("interop.observed.topic"))));
        Jms.fact("temporary queue made", seen(() -> source.getTemporaryQueues().contains(named)));
        temporary.delete();
        Jms.fact("temporary queue deleted", seen(() -> !source.getTemporaryQueues().contains(named)));
        ((ActiveMQConnection) acting).destroyDestination(new ActiveMQQueue("interop.observed.queue"));
        Jms.fact("queue deleted", seen(() -> !source.getQueues().contains(new ActiveMQQueue("interop.observed.queue"))));
        boolean silent = source.getTopics().stream().noneMatch(topic -> topic.getPhysicalName().startsWith(PREFIX));
        Jms.fact("no advisory of advisories", silent);
        source.stop();
    }

    /** Consumers of a queue with their number: those there are, new ones, closed ones. */
    private void consumers() throws Exception {
        Queue queue = session.createQueue("interop.observed.consumed");
        MessageConsumer first = session.createConsumer(queue);
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        ConsumerEventSource source = new ConsumerEventSource(watching, queue);
        source.setConsumerListener(
            event -> events.add((event.isStarted() ? "started, " : "stopped, ") + event.getConsumerCount()));
        source.start();
        Jms.fact("consumer there was", next(events));
        MessageConsumer second = session.createConsumer(queue);
        Jms.fact("consumer opened", next(events));
        first.close();
        Jms.fact("consumer closed", next(events));
        session.createBrowser(queue).getEnumeration().hasMoreElements();
        second.close();
        String event = next(events);
        while (!event.endsWith(", 0")) {
            event = next(events);
        }
        Jms.fact("last consumer closed", event);
        source.stop();
    }

    /** Producers of a topic with their number. */
    private void producers() throws Exception {
        Topic topic = session.createTopic("interop.observed.produced");
        MessageProducer first = session.createProducer(topic);
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        ProducerEventSource source = new ProducerEventSource(watching, topic);
        source.setProducerListener(
            event -> events.add((event.isStarted() ? "started, " : "stopped, ") + event.getProducerCount()));
        source.start();
        Jms.fact("producer there was", next(events));
        session.createProducer(null).close();
        MessageProducer second = session.createProducer(topic);
        Jms.fact("producer opened", next(events));
        first.close();
        Jms.fact("producer closed", next(events));
        second.close();
        Jms.fact("last producer closed", next(events));
        source.stop();
    }

    /** Connections that are opened and closed; what their advisories say. */
    private void connections() throws Exception {
        Session session = watching.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(session.createTopic(PREFIX + "Connection"));
        Jms.fact("connections there are", "ConnectionInfo".equals(Advisories.structure(consumer.receive(Jms.WAIT_MS))));
        consumer.receive(Jms.WAIT_MS);
        Connection third = Jms.connect(url);
        Message opened = consumer.receive(Jms.WAIT_MS);
        Jms.fact("connection opened", Advisories.described(opened));
        Jms.fact("connection's user", new ActiveMQField(opened).userName());
        Jms.fact("connection's headers", opened.getJMSType() + " " + opened.getJMSDeliveryMode() + " "
            + opened.getJMSPriority() + " " + opened.getJMSDestination());
        third.close();
        Jms.fact("connection closed", Advisories.described(consumer.receive(Jms.WAIT_MS)));
        session.close();
    }

    /** A wildcard hears of consumers of all queues, also of those there are; one for everything does not. */
    private void wildcards() throws Exception {
        Session watchers = watching.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue queue = session.createQueue("interop.wild.a");
        MessageConsumer there = session.createConsumer(queue);
        MessageConsumer consumers = watchers.createConsumer(
            watchers.createTopic(PREFIX + "Consumer.Queue.interop.wild.>"));
        Jms.fact("wildcard, there was", Advisories.described(consumers.receive(Jms.WAIT_MS)));
        MessageConsumer all = watchers.createConsumer(watchers.createTopic(PREFIX + ">"));
        MessageConsumer late = session.createConsumer(session.createQueue("interop.wild.b"));
        Jms.fact("wildcard, opened", Advisories.described(consumers.receive(Jms.WAIT_MS)));
        List<String> heard = new ArrayList<>();
        for (Message message = all.receive(Jms.WAIT_MS); message != null; message = all.receive(Jms.NOTHING_MS)) {
            heard.add(Advisories.described(message));
        }
        Collections.sort(heard);
        Jms.fact("everything", String.join("; ", heard));
        there.close();
        late.close();
        watchers.close();
    }

    /** What happens to messages of a queue whose policy wants to hear of it. */
    private void messages() throws Exception {
        Queue queue = session.createQueue("interop.loud.queue");
        Session watchers = watching.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer delivered = watchers.createConsumer(watchers.createTopic(PREFIX + "MessageDelivered.>"));
        MessageConsumer consumed = watchers.createConsumer(watchers.createTopic(PREFIX + "MessageConsumed.>"));
        MessageConsumer nobody = watchers.createConsumer(watchers.createTopic(PREFIX + "NoConsumer.>"));
        MessageConsumer expired = watchers.createConsumer(watchers.createTopic(PREFIX + "Expired.>"));
        MessageConsumer dead = watchers.createConsumer(watchers.createTopic(PREFIX + "MessageDLQd.>"));
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("for nobody"));
        Jms.fact("delivered", Advisories.described(delivered.receive(Jms.WAIT_MS)));
        Message passed = nobody.receive(Jms.WAIT_MS);
        Jms.fact("no consumer", passed.getJMSDestination() + " " + ((javax.jms.TextMessage) passed).getText());
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("received", Jms.receive(consumer));
        Jms.fact("consumed", Advisories.described(consumed.receive(Jms.WAIT_MS)));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        producer.send(session.createTextMessage("for somebody"));
        Jms.receive(consumer);
        delivered.receive(Jms.WAIT_MS);
        consumer.close();
        Jms.fact("no consumer of it", nobody.receive(Jms.NOTHING_MS) == null);

        producer.setTimeToLive(1);
        producer.send(session.createTextMessage("short"));
        Thread.sleep(50);
        MessageConsumer late = session.createConsumer(queue);
        Jms.fact("expired", Advisories.described(expired.receive(Jms.WAIT_MS)));
        late.close();

        producer.setTimeToLive(0);
        producer.send(session.createTextMessage("poison"));
        Session transacted = acting.createSession(true, Session.SESSION_TRANSACTED);
        MessageConsumer failing = transacted.createConsumer(queue);
        failing.receive(Jms.WAIT_MS);
        transacted.rollback();
        String given = Advisories.described(dead.receive(Jms.WAIT_MS));
        while (given.contains("Expired") || given.equals("nothing")) {
            given = Advisories.described(dead.receive(Jms.WAIT_MS));
        }
        Jms.fact("given up", given);
        transacted.close();
        producer.close();
        watchers.close();
    }

    /** A subscriber that does not take its messages is slow, and loses the oldest. */
    private void discarded() throws Exception {
        Topic topic = session.createTopic("interop.loud.topic?consumer.prefetchSize=2");
        Session watchers = watching.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer slow = watchers.createConsumer(watchers.createTopic(PREFIX + "SlowConsumer.>"));
        MessageConsumer discarded = watchers.createConsumer(
            watchers.createTopic(PREFIX + "MessageDiscarded.Topic.interop.loud.topic"));
        Session idle = acting.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        MessageConsumer consumer = idle.createConsumer(topic);
        MessageProducer producer = session.createProducer(session.createTopic("interop.loud.topic"));
        for (int number = 0; number < 10; number++) {
            producer.send(session.createTextMessage("m" + number));
        }
        Jms.fact("discarded", Advisories.described(discarded.receive(Jms.WAIT_MS)));
        Message last = null;
        for (Message each = discarded.receive(Jms.WAIT_MS); each != null; each = discarded.receive(Jms.NOTHING_MS)) {
            last = each;
        }
        Jms.fact("discarded in all", last.getIntProperty("discardedCount"));
        Jms.fact("slow", slow.receive(Jms.NOTHING_MS) != null);
        consumer.close();
        idle.close();
        producer.close();
        watchers.close();
    }

    private static boolean seen(BooleanSupplier condition) throws InterruptedException {
        for (long waited = 0; waited < Jms.WAIT_MS && !condition.getAsBoolean(); waited += 20) {
            Thread.sleep(20);
        }
        return condition.getAsBoolean();
    }

    private static String next(BlockingQueue<String> events) throws InterruptedException {
        return String.valueOf(events.poll(Jms.WAIT_MS, TimeUnit.MILLISECONDS));
    }

    /** What a connection's advisory says of its user; never the password. */
    private static final class ActiveMQField {
        private final org.apache.activemq.command.ConnectionInfo info;

        ActiveMQField(Message message) {
            info = (org.apache.activemq.command.ConnectionInfo) ((ActiveMQMessage) message).getDataStructure();
        }

        String userName() {
            return info.getUserName() + ", password '" + info.getPassword() + "'";
        }
    }
}
