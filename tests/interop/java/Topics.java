import java.util.ArrayList;
import java.util.List;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;

/** Subscribers that select, share nothing, come late, are slow, or are away. */
public final class Topics {
    private static final String RED = "colour = 'red'";
    private static Session session;
    private static MessageProducer producer;

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        Connection connection = Jms.connect(url);
        session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        producer = session.createProducer(null);
        selectors(url);
        local(url);
        patterns(url);
        retroactive();
        slow(url);
        aborted(url);
        connection.close();
    }

    private static void selectors(String url) throws JMSException {
        Topic topic = topic("selected");
        MessageConsumer red = session.createConsumer(topic, RED);
        try {
            session.createConsumer(topic, "colour = = 'red'");
        } catch (JMSException refusal) {
            Jms.fact("invalid", refusal.getClass().getSimpleName());
        }
        send(topic, "1", "red");
        send(topic, "2", "blue");
        send(topic, "3", "red");
        Jms.fact("selected", texts(red));
        red.close();
        Connection durable = connect(url, "interop-topics");
        Session own = durable.createSession(false, Session.AUTO_ACKNOWLEDGE);
        own.createDurableSubscriber(topic, "selecting", RED, false).close();
        send(topic, "4", "red");
        send(topic, "5", "blue");
        MessageConsumer again = own.createDurableSubscriber(topic, "selecting", RED, false);
        Jms.fact("selected while away", texts(again));
        again.close();
        send(topic, "6", "red");
        again = own.createDurableSubscriber(topic, "selecting", "colour = 'blue'", false);
        send(topic, "7", "red");
        send(topic, "8", "blue");
        Jms.fact("another selector", texts(again));
        again.close();
        own.unsubscribe("selecting");
        try {
            own.unsubscribe("selecting");
        } catch (JMSException refusal) {
            Jms.fact("unsubscribed twice", refusal.getClass().getSimpleName());
        }
        durable.close();
    }

    private static void local(String url) throws JMSException {
        Topic topic = topic("local");
        Connection own = connect(url, "interop-topics");
        Session here = own.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageConsumer plain = here.createConsumer(topic, null, true);
        MessageConsumer durable = here.createDurableSubscriber(topic, "local", null, true);
        here.createProducer(topic).send(here.createTextMessage("own"));
        send(topic, "other", "");
        Jms.fact("not local", texts(plain) + " " + texts(durable));
        durable.close();
        here.unsubscribe("local");
        own.close();
    }

    private static void patterns(String url) throws JMSException {
        Connection own = connect(url, "interop-topics");
        Session here = own.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Topic pattern = here.createTopic("interop.topics.pattern.>");
        send(topic("pattern.a"), "before", "");
        here.createDurableSubscriber(pattern, "pattern").close();
        send(topic("pattern.a"), "a", "");
        send(topic("pattern.b"), "b", "");
        MessageConsumer again = here.createDurableSubscriber(pattern, "pattern");
        send(topic("pattern.c.d"), "d", "");
        List<String> found = texts(again);
        found.sort(null);
        Jms.fact("durable pattern", found);
        again.close();
        here.unsubscribe("pattern");
        own.close();
    }

    private static void retroactive() throws JMSException {
        for (String name : List.of("count", "last", "timed", "sized", "nothing")) {
            Topic topic = topic(name);
            for (int number = 1; number <= 4; number++) {
                send(topic, String.valueOf(number), number % 2 == 0 ? "red" : "blue");
            }
            MessageConsumer late = session.createConsumer(topic(name + "?consumer.retroactive=true"));
            MessageConsumer choosy =
                session.createConsumer(topic(name + "?consumer.retroactive=true"), "colour = 'blue'");
            MessageConsumer other = session.createConsumer(topic);
            send(topic, "5", "");
            Jms.fact("late, " + name, texts(late) + " " + texts(choosy) + " " + texts(other));
            late.close();
            choosy.close();
            other.close();
        }
        Topic topic = topic("retained");
        TextMessage kept = session.createTextMessage("kept");
        kept.setBooleanProperty("ActiveMQ.Retain", true);
        producer.send(topic, kept);
        send(topic, "afterwards", "");
        MessageConsumer late = session.createConsumer(topic("retained?consumer.retroactive=true"));
        Message found = late.receive(Jms.WAIT_MS);
        Jms.fact("retained", ((TextMessage) found).getText() + " " + found.getBooleanProperty("ActiveMQ.Retained"));
        Jms.fact("retained, no more", texts(late));
        late.close();
        MessageConsumer last = session.createConsumer(topic("retained?consumer.retroactive=true"));
        Jms.fact("retained, still", texts(last));
        last.close();
    }

    private static void slow(String url) throws JMSException {
        Connection own = Jms.connect(url);
        Session here = own.createSession(false, Session.AUTO_ACKNOWLEDGE);
        for (String name : List.of("oldest", "priority", "unique", "rate")) {
            int prefetch = name.equals("rate") ? 2 : 1;
            Topic where = topic(name + "?consumer.prefetchSize=" + prefetch);
            MessageConsumer consumer = here.createConsumer(where);
            MessageConsumer modest = here.createConsumer(
                topic(name + "?consumer.maximumPendingMessageLimit=1&consumer.prefetchSize=" + prefetch));
            int[] priorities = {4, 4, 9, 1, 4, 9, 1, 4};
            for (int number = 1; number <= 8; number++) {
                TextMessage message = session.createTextMessage(String.valueOf(number));
                message.setStringProperty("share", number % 2 == 0 ? "even" : "odd");
                producer.send(topic(name), message, javax.jms.DeliveryMode.PERSISTENT, priorities[number - 1], 0);
            }
            Jms.fact("slow, " + name, texts(consumer) + " " + texts(modest));
            consumer.close();
            modest.close();
        }
        own.close();
    }

    private static void aborted(String url) throws JMSException, InterruptedException {
        Connection own = Jms.connect(url);
        Session here = own.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        MessageConsumer full = here.createConsumer(topic("full?consumer.prefetchSize=2"));
        for (int number = 1; number <= 8; number++) {
            send(topic("full"), String.valueOf(number), "");
        }
        Jms.fact("full for too long", Jms.closed(full));
        MessageConsumer silent = here.createConsumer(topic("silent"));
        send(topic("silent"), "1", "");
        silent.receive(Jms.WAIT_MS);
        Jms.fact("silent for too long", Jms.closed(silent));
        own.close();
    }

    private static Topic topic(String name) throws JMSException {
        return session.createTopic("interop.topics." + name);
    }

    private static void send(Topic topic, String text, String colour) throws JMSException {
        TextMessage message = session.createTextMessage(text);
        message.setStringProperty("colour", colour);
        producer.send(topic, message);
    }

    private static Connection connect(String url, String clientId) throws JMSException {
        Connection connection = Jms.factory(url).createConnection();
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    /** All that comes until nothing does for a while. */
    private static List<String> texts(MessageConsumer consumer) throws JMSException {
        List<String> found = new ArrayList<>();
        Message message = consumer.receive(Jms.NOTHING_MS);
        while (message != null) {
            found.add(((TextMessage) message).getText());
            message = consumer.receive(Jms.NOTHING_MS);
        }
        return found;
    }
}
