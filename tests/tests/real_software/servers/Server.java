import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/** Answers {@code app <client> <server>}. */
public final class Server {
    private static String name(InetSocketAddress address) {
        InetAddress ip = address.getAddress();
        String text = ip.getHostAddress();
        return (ip.getAddress().length == 4 ? text : "[" + text + "]") + ":" + address.getPort();
    }

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 128);
        server.createContext("/", exchange -> {
            String client = name(exchange.getRemoteAddress());
            String body = "app " + client + " " + name(exchange.getLocalAddress()) + "\n";
            exchange.sendResponseHeaders(200, body.length());
            exchange.getResponseBody().write(body.getBytes());
            exchange.close();
        });
        server.start();
    }
}
