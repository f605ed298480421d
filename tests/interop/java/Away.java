import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.Topic;
import javax.jms.TopicSubscriber;

/**
 * Consumers whose broker gives them up: durable subscribers that stay away, and those of queues that are slow.
 * Arguments: URL; anything more: also what Apache's broker does not notice.
 */
public final class Away {
    private static final int ASKED = 100;
    private static final long ASK_MS = 200;

    private static String url;
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        Connection connection = Jms.connect(url);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        away();
        slow("silent", "", 1);
        if (arguments.length > 1) {
            slow("full", "?consumer.prefetchSize=2", 0);
        }
        connection.close();
    }

    /** Of the subscribers of a topic all but one leave and stay away; the others are asked for one by one. */
    private static void away() throws Exception {
        Topic topic = session.createTopic("interop.away.topic");
        Connection leaving = connection("interop-leaving");
        Session left = leaving.createSession(false, Session.AUTO_ACKNOWLEDGE);
        for (int number = 0; number < ASKED; number++) {
            left.createDurableSubscriber(topic, "away-" + number).close();
        }
        Connection staying = connection("interop-staying");
        Session stays = staying.createSession(false, Session.AUTO_ACKNOWLEDGE);
        TopicSubscriber there = stays.createDurableSubscriber(topic, "there");
        MessageProducer producer = session.createProducer(topic);
        producer.send(session.createTextMessage("before"));
        Jms.fact("who is there", Jms.receive(there));
        String gone = null;
        for (int number = 0; number < ASKED && gone == null; number++) {
            try {
                left.unsubscribe("away-" + number);
                Thread.sleep(ASK_MS);
            } catch (JMSException refusal) {
                Jms.fact("away for too long", refusal.getClass().getSimpleName());
                gone = "away-" + number;
            }
        }
        TopicSubscriber again = left.createDurableSubscriber(topic, gone);
        Jms.fact("nothing waits for it", Jms.receiveNothing(again));
        producer.send(session.createTextMessage("after"));
        Jms.fact("who came again", Jms.receive(again));
        Jms.fact("who is still there", Jms.receive(there));
        leaving.close();
        staying.close();
    }

    /** A consumer of a queue that does not acknowledge is closed, and another gets its messages. */
    private static void slow(String name, String options, int taken) throws Exception {
        Queue queue = session.createQueue("interop.away." + name);
        Connection own = Jms.connect(url);
        Session here = own.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        MessageConsumer slow = here.createConsumer(session.createQueue("interop.away." + name + options));
        Jms.sendTexts(session, queue, "1", "2", "3", "4");
        for (int count = 0; count < taken; count++) {
            slow.receive(Jms.WAIT_MS);
        }
        Jms.fact(name + " for too long", Jms.closed(slow));
        MessageConsumer other = session.createConsumer(queue);
        StringBuilder got = new StringBuilder();
        for (int count = 0; count < 4; count++) {
            got.append(Jms.receive(other).split(" ")[0]).append(' ');
        }
        Jms.fact("another gets them", got.toString().trim());
        other.close();
        own.close();
    }

    private static Connection connection(String clientId) throws JMSException {
        Connection connection = Jms.factory(url).createConnection();
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }
}
