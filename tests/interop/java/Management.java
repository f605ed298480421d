import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.command.ActiveMQMessage;

/** A JMS program manages the broker with messages; what it moves arrives as its consumers expect it. */
public final class Management {
    private final Session session;
    private final TemporaryQueue answers;
    private final MessageConsumer answered;
    private final MessageProducer asking;

    private Management(Session session) throws Exception {
        this.session = session;
        this.answers = session.createTemporaryQueue();
        this.answered = session.createConsumer(answers);
        this.asking = session.createProducer(session.createQueue("ActiveMQ.Management"));
        this.asking.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
    }

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0]);
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue from = session.createQueue("interop.managed");
        MessageProducer producer = session.createProducer(from);
        for (String color : new String[] {"red", "blue", "red"}) {
            TextMessage message = session.createTextMessage(color + " message");
            message.setStringProperty("color", color);
            producer.send(message);
        }
        Management management = new Management(session);
        Jms.fact("size", part(management.ask("queue", "\"queue\": \"interop.managed\""), "size"));
        String arguments1 = "\"queue\": \"interop.managed\", \"target\": \"interop.moved\", \"selector\": \"color = 'red'\"";
        Jms.fact("moved", part(management.ask("move", arguments1), "changed"));
        Jms.fact("left", part(management.ask("queue", "\"queue\": \"interop.managed\""), "size"));
        Jms.fact("wrong", part(management.ask("purge", "\"queue\": \"nowhere\""), "code"));

        MessageConsumer consumer = session.createConsumer(session.createQueue("interop.moved"));
        for (int i = 0; i < 2; i++) {
            Message got = consumer.receive(Jms.WAIT_MS);
            Jms.fact("got", ((TextMessage) got).getText());
            Jms.fact("at", got.getJMSDestination());
            Jms.fact("was at", ((ActiveMQMessage) got).getOriginalDestination());
            Jms.fact("property", got.getStringProperty("color"));
            Jms.fact("redelivered", got.getJMSRedelivered());
        }
        Jms.fact("more", consumer.receive(Jms.NOTHING_MS));
        Jms.fact("purged", part(management.ask("purge", "\"queue\": \"interop.managed\""), "changed"));
        connection.close();
    }

    private String ask(String operation, String details) throws Exception {
        TextMessage request = session.createTextMessage(
            "{\"version\": 1, \"operation\": \"" + operation + "\", \"arguments\": {" + details + "}}");
        request.setJMSReplyTo(answers);
        request.setJMSCorrelationID(operation);
        asking.send(request);
        Message answer = answered.receive(Jms.WAIT_MS);
        if (!operation.equals(answer.getJMSCorrelationID())) {
            throw new IllegalStateException("an answer to " + answer.getJMSCorrelationID());
        }
        return ((TextMessage) answer).getText();
    }

    /** The first value of a name in JSON. */
    private static String part(String json, String name) {
        String after = json.substring(json.indexOf("\"" + name + "\": ") + name.length() + 4);
        return after.replaceAll("(?s)[,}].*", "").replace("\"", "");
    }
}
