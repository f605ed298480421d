import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;

/** A request on a queue is answered on the asker's temporary queue, which only the asker may read. */
public final class RequestReply {
    public static void main(String[] arguments) throws Exception {
        Connection asking = Jms.connect(arguments[0]);
        Connection answering = Jms.connect(arguments[0]);
        Session askingSession = asking.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Session answeringSession = answering.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue requests = askingSession.createQueue("interop.requests");
        MessageConsumer requested = answeringSession.createConsumer(requests);

        TemporaryQueue replies = askingSession.createTemporaryQueue();
        MessageConsumer replied = askingSession.createConsumer(replies);
        TextMessage request = askingSession.createTextMessage("question");
        request.setJMSReplyTo(replies);
        askingSession.createProducer(requests).send(request);

        Message question = requested.receive(Jms.WAIT_MS);
        Jms.fact("asked", ((TextMessage) question).getText());
        TextMessage answer = answeringSession.createTextMessage("answer");
        answer.setJMSCorrelationID(question.getJMSMessageID());
        MessageProducer anonymous = answeringSession.createProducer(null);
        anonymous.send(question.getJMSReplyTo(), answer);
        Message got = replied.receive(Jms.WAIT_MS);
        Jms.fact("answered", ((TextMessage) got).getText());
        Jms.fact("correlated", got.getJMSCorrelationID().equals(request.getJMSMessageID()));

        Jms.fact("read by another", read(answeringSession, (Queue) question.getJMSReplyTo()));
        replied.close();
        replies.delete();
        Jms.fact("sent after its end", send(anonymous, question.getJMSReplyTo(), answer));
        asking.close();
        answering.close();
    }

    private static String read(Session session, Queue queue) {
        try {
            session.createConsumer(queue);
            return "allowed";
        } catch (JMSException refusal) {
            return "refused";
        }
    }

    /** The client hears of the deletion by an advisory, so it may take a moment. */
    private static String send(MessageProducer producer, javax.jms.Destination destination, Message message)
        throws InterruptedException {
        for (int attempt = 0; attempt < 50; attempt++) {
            try {
                producer.send(destination, message);
            } catch (JMSException refusal) {
                return "refused";
            }
            Thread.sleep(100);
        }
        return "allowed";
    }
}
