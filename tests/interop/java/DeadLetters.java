import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.command.ActiveMQMessage;

/** What is rolled back too often, or expires, and where it goes. */
public final class DeadLetters {
    private static final String QUEUE = "interop.dlq.individual.";
    private static Connection connection;
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        connection = open(arguments[0], "dead-letters");
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        shared();
        individual();
        discarding();
        durable();
        expired();
        connection.close();
    }

    private static Connection open(String url, String clientId) throws JMSException {
        ActiveMQConnectionFactory factory = Jms.factory(url);
        ActiveMQConnection made = (ActiveMQConnection) factory.createConnection();
        made.setClientID(clientId);
        made.getRedeliveryPolicy().setMaximumRedeliveries(1);
        made.getRedeliveryPolicy().setInitialRedeliveryDelay(0);
        made.getRedeliveryPolicy().setRedeliveryDelay(0);
        made.start();
        return made;
    }

    private static void shared() throws JMSException {
        Destination queue = session.createQueue("interop.dlq.shared");
        MessageProducer producer = session.createProducer(queue);
        TextMessage sent = session.createTextMessage("bad");
        sent.setStringProperty("colour", "red");
        sent.setJMSCorrelationID("job 7");
        producer.send(sent);
        Jms.fact("rolled back", rollBack(queue));
        Message dead = letter("ActiveMQ.DLQ");
        ActiveMQMessage message = (ActiveMQMessage) dead;
        Jms.fact("dead", describe(dead) + " from " + message.getOriginalDestination() + " "
            + dead.getStringProperty("colour") + " " + dead.getJMSCorrelationID());
        Jms.fact("the same id", dead.getJMSMessageID().equals(sent.getJMSMessageID()));
        Jms.fact("cause", dead.getStringProperty("dlqDeliveryFailureCause").startsWith(
            "java.lang.Throwable: Delivery[2] exceeds redelivery policy limit:RedeliveryPolicy"));
        Jms.fact("original expiration", dead.getObjectProperty("originalExpiration"));
        Jms.fact("delivery count", dead.getIntProperty("JMSXDeliveryCount") + " " + dead.getJMSRedelivered());
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("not persistent"));
        rollBack(queue);
        Jms.fact("not persistent", none("ActiveMQ.DLQ"));
    }

    private static void individual() throws JMSException {
        Destination queue = session.createQueue(QUEUE + "a");
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("bad"));
        rollBack(queue);
        Message dead = letter("ActiveMQ.DLQ.Queue." + QUEUE + "a");
        Jms.fact("individual", describe(dead));
        Jms.fact("original delivery mode", dead.getStringProperty("originalDeliveryMode") + " "
            + (dead.getJMSDeliveryMode() == DeliveryMode.PERSISTENT));
    }

    private static void discarding() throws JMSException {
        Destination queue = session.createQueue("interop.dlq.discarding");
        session.createProducer(queue).send(session.createTextMessage("bad"));
        rollBack(queue);
        Jms.fact("discarded", none("ActiveMQ.DLQ"));
        MessageConsumer consumer = session.createConsumer(queue);
        Jms.fact("left", Jms.receiveNothing(consumer));
        consumer.close();
    }

    private static void durable() throws JMSException {
        Topic topic = session.createTopic("interop.dlq.topic");
        for (String name : new String[] {"a", "b"}) {
            session.createDurableSubscriber(topic, name).close();
        }
        session.createProducer(topic).send(session.createTextMessage("bad"));
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageConsumer subscriber = transacted.createDurableSubscriber(topic, "a");
        Jms.fact("subscriber", rollBack(transacted, subscriber));
        subscriber.close();
        transacted.close();
        Message dead = letter("interop.dead.interop.dlq.topic.dead-letters:a");
        Jms.fact("of a durable subscriber", describe(dead) + " from "
            + ((ActiveMQMessage) dead).getOriginalDestination());
        MessageConsumer other = session.createDurableSubscriber(topic, "b");
        Jms.fact("for the other", Jms.receive(other));
        other.close();
        session.unsubscribe("a");
        session.unsubscribe("b");
    }

    private static void expired() throws JMSException {
        MessageProducer producer = session.createProducer(null);
        producer.setTimeToLive(1_000);
        TextMessage sent = session.createTextMessage("late");
        producer.send(session.createQueue(QUEUE + "expiring"), sent);
        producer.send(session.createQueue("interop.dlq.unexpired"), session.createTextMessage("late"));
        Message dead = letter("ActiveMQ.DLQ.Queue." + QUEUE + "expiring");
        Jms.fact("expired", describe(dead) + " expires " + dead.getJMSExpiration());
        Jms.fact("expired, cause", dead.getStringProperty("dlqDeliveryFailureCause").equals(
            "java.lang.Throwable: Message Expired. Expiration:" + sent.getJMSExpiration()));
        Jms.fact("expired, before", dead.getLongProperty("originalExpiration") == sent.getJMSExpiration());
        Jms.fact("expired and dropped", none("ActiveMQ.DLQ.Queue.interop.dlq.unexpired"));
        MessageConsumer consumer = session.createConsumer(session.createQueue("interop.dlq.unexpired"));
        Jms.fact("expired and gone", Jms.receiveNothing(consumer));
        consumer.close();
    }

    /** Receive and roll back until nothing comes any more; what came. */
    private static List<String> rollBack(Destination destination) throws JMSException {
        Session transacted = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageConsumer consumer = transacted.createConsumer(destination);
        List<String> found = rollBack(transacted, consumer);
        consumer.close();
        transacted.close();
        return found;
    }

    private static List<String> rollBack(Session transacted, MessageConsumer consumer) throws JMSException {
        List<String> found = new ArrayList<>();
        String text = Jms.receive(consumer);
        while (!text.equals("nothing")) {
            found.add(text);
            transacted.rollback();
            text = Jms.receiveNothing(consumer);
        }
        return Collections.unmodifiableList(found);
    }

    private static Message letter(String name) throws JMSException {
        MessageConsumer consumer = session.createConsumer(session.createQueue(name));
        Message found = consumer.receive(Jms.WAIT_MS);
        consumer.close();
        if (found == null) {
            throw new IllegalStateException("there is no dead letter in " + name);
        }
        return found;
    }

    private static String none(String name) throws JMSException {
        MessageConsumer consumer = session.createConsumer(session.createQueue(name));
        String found = Jms.receiveNothing(consumer);
        consumer.close();
        return found;
    }

    private static String describe(Message message) throws JMSException {
        return ((TextMessage) message).getText() + " at " + message.getJMSDestination();
    }
}
