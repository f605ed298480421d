import java.util.ArrayList;
import java.util.List;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;

/** In which order subscribers that are not durable get messages of several priorities, by the topic's policy. */
public final class Priorities {
    private static final int[] SENT = {4, 4, 9, 1, 4, 9};

    public static void main(String[] arguments) throws Exception {
        Connection connection = Jms.connect(arguments[0] + "?jms.alwaysSyncSend=true");
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        for (String name : List.of("memory", "files", "unwanted", "plain")) {
            for (int mode : new int[] {DeliveryMode.PERSISTENT, DeliveryMode.NON_PERSISTENT}) {
                Topic topic = session.createTopic("interop.priorities." + name);
                MessageConsumer consumer = session.createConsumer(
                    session.createTopic(topic.getTopicName() + "?consumer.prefetchSize=1"));
                MessageProducer producer = session.createProducer(topic);
                producer.setDeliveryMode(mode);
                for (int number = 0; number < SENT.length; number++) {
                    producer.setPriority(SENT[number]);
                    producer.send(session.createTextMessage(SENT[number] + "." + number));
                }
                Jms.fact(name, texts(consumer));
                consumer.close();
            }
        }
        connection.close();
    }

    private static List<String> texts(MessageConsumer consumer) throws JMSException {
        List<String> found = new ArrayList<>();
        for (int count = 0; count < SENT.length; count++) {
            Message message = consumer.receive(Jms.WAIT_MS);
            found.add(message == null ? "nothing" : ((TextMessage) message).getText());
        }
        return found;
    }
}
