import javax.jms.Connection;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.command.ActiveMQMessage;

/** What a configured broker forwards, and what it lets a guest do. */
public final class Guarded {
    private interface Attempt {
        void run() throws JMSException;
    }

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        forwarding(session);
        guest(arguments[0], session);
        connection.close();
    }

    private static void forwarding(Session session) throws JMSException {
        MessageConsumer right = session.createConsumer(session.createTopic("guarded.right"));
        send(session, "both", session.createQueue("guarded.both"));
        Jms.fact("left", take(session, "guarded.left"));
        Jms.fact("right", shown(right.receive(Jms.WAIT_MS)));
        Jms.fact("itself", take(session, "guarded.both"));
        send(session, "copied", session.createQueue("guarded.copied"));
        Jms.fact("copy", take(session, "guarded.copy"));
        Jms.fact("original", take(session, "guarded.copied"));

        MessageConsumer virtual = session.createConsumer(session.createQueue("VC.me.VT.x"));
        send(session, "virtual", session.createTopic("VT.x"));
        Jms.fact("virtual topic", shown(virtual.receive(Jms.WAIT_MS)));
        MessageConsumer mirror = session.createConsumer(session.createTopic("VirtualTopic.Mirror.guarded.seen"));
        send(session, "mirrored", session.createQueue("guarded.seen"));
        Jms.fact("mirror", ((TextMessage) mirror.receive(Jms.WAIT_MS)).getText());
        Jms.fact("mirrored", take(session, "guarded.seen"));
        virtual.close();
        mirror.close();
        right.close();
    }

    private static void guest(String url, Session admin) throws JMSException {
        send(admin, "news", admin.createQueue("guarded.board.news"));
        Connection connection = new ActiveMQConnectionFactory("guest", "guest", url).createConnection();
        connection.start();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Jms.fact("reads the board", take(session, "guarded.board.news"));
        Jms.fact("writes to the board", attempt(() ->
            send(session, "graffiti", session.createQueue("guarded.board.news"))));
        Jms.fact("makes a board", attempt(() ->
            session.createConsumer(session.createQueue("guarded.board.other")).close()));
        Jms.fact("writes to the box", attempt(() -> send(session, "letter", session.createQueue("guarded.box"))));
        Jms.fact("reads the box", attempt(() ->
            session.createConsumer(session.createQueue("guarded.box")).close()));
        Jms.fact("writes elsewhere", attempt(() -> send(session, "x", session.createQueue("guarded.left"))));
        Jms.fact("writes to both", attempt(() ->
            send(session, "x", session.createQueue("guarded.box,guarded.left"))));
        TemporaryQueue temporary = session.createTemporaryQueue();
        MessageConsumer own = session.createConsumer(temporary);
        send(session, "to myself", temporary);
        Jms.fact("temporary queue", ((TextMessage) own.receive(Jms.WAIT_MS)).getText());
        connection.close();
        Jms.fact("in the box", take(admin, "guarded.box"));
    }

    private static String attempt(Attempt attempt) {
        try {
            attempt.run();
            return "allowed";
        } catch (JMSException refusal) {
            return refusal.getClass().getSimpleName();
        }
    }

    private static void send(Session session, String text, Destination destination) throws JMSException {
        MessageProducer producer = session.createProducer(destination);
        try {
            producer.send(session.createTextMessage(text));
        } finally {
            producer.close();
        }
    }

    private static String take(Session session, String queue) throws JMSException {
        MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
        Message message = consumer.receive(Jms.NOTHING_MS);
        consumer.close();
        return shown(message);
    }

    /** The text, where it was found, and where it was sent to. */
    private static String shown(Message message) throws JMSException {
        if (message == null) {
            return "nothing";
        }
        Object original = ((ActiveMQMessage) message).getOriginalDestination();
        return ((TextMessage) message).getText() + " at " + message.getJMSDestination()
            + (original == null ? "" : " from " + original);
    }
}
