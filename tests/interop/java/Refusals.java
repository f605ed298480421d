import javax.jms.Connection;
import javax.jms.JMSException;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * Who does not know the password, or gives none, learns it from an exception; which one depends, with Apache's
 * broker, on whether its answer or the end of the connection is seen first.
 */
public final class Refusals {
    public static void main(String[] arguments) {
        Jms.fact("wrong password", attempt(arguments[0], "admin", "wrong"));
        Jms.fact("unknown user", attempt(arguments[0], "nobody", "admin"));
        Jms.fact("anonymous", attempt(arguments[0], null, null));
        Jms.fact("right password", attempt(arguments[0], "admin", "admin"));
    }

    private static String attempt(String url, String user, String password) {
        ActiveMQConnectionFactory factory = new ActiveMQConnectionFactory(user, password, url);
        Connection connection = null;
        try {
            connection = factory.createConnection();
            connection.start();
            return "allowed";
        } catch (JMSException refusal) {
            return "refused";
        } finally {
            close(connection);
        }
    }

    private static void close(Connection connection) {
        try {
            if (connection != null) {
                connection.close();
            }
        } catch (JMSException alreadyClosed) {
            return;
        }
    }
}
