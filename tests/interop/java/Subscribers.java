import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

/** Topics: an ordinary subscriber hears what is sent while it listens, a durable one all since it subscribed. */
public final class Subscribers {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        Connection publishing = Jms.connect(url);
        Session session = publishing.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Topic topic = session.createTopic("interop.subscribers");
        MessageProducer producer = session.createProducer(topic);

        producer.send(session.createTextMessage("before anybody listened"));
        MessageConsumer first = session.createConsumer(topic);
        MessageConsumer second = session.createConsumer(topic);
        producer.send(session.createTextMessage("to both"));
        Jms.fact("ordinary", Jms.receive(first) + ", " + Jms.receive(second));
        first.close();
        second.close();

        Connection durable = durableConnection(url);
        Session durableSession = durable.createSession(false, Session.AUTO_ACKNOWLEDGE);
        durableSession.createDurableSubscriber(topic, "subscription").close();
        durable.close();
        producer.send(session.createTextMessage("while away"));

        durable = durableConnection(url);
        durableSession = durable.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer subscriber = durableSession.createDurableSubscriber(topic, "subscription");
        Jms.fact("durable, while away", Jms.receive(subscriber));
        producer.send(session.createTextMessage("while there"));
        Jms.fact("durable, while there", Jms.receive(subscriber));
        subscriber.close();
        Jms.fact("same client id twice", secondConnection(url));
        durableSession.unsubscribe("subscription");
        producer.send(session.createTextMessage("after unsubscribe"));
        subscriber = durableSession.createDurableSubscriber(topic, "subscription");
        Jms.fact("durable, after unsubscribe", Jms.receiveNothing(subscriber));
        subscriber.close();
        durableSession.unsubscribe("subscription");
        durable.close();
        publishing.close();
    }

    private static Connection durableConnection(String url) throws JMSException {
        Connection connection = Jms.factory(url).createConnection();
        connection.setClientID("interop-durable");
        connection.start();
        return connection;
    }

    private static String secondConnection(String url) throws JMSException {
        ActiveMQConnection connection = (ActiveMQConnection) Jms.factory(url).createConnection();
        try {
            connection.setClientID("interop-durable");
            connection.start();
            return "allowed";
        } catch (JMSException refusal) {
            return refusal.getClass().getSimpleName();
        } finally {
            connection.close();
        }
    }
}
