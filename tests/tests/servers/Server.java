import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;

/** The JDK's HttpServer: files, an echo, and a response in chunks. */
public final class Server {
    private static final Path ROOT = Path.of(System.getenv("ROOT"));

    private static void answer(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        String method = exchange.getRequestMethod();
        Path file = ROOT.resolve(path.substring(1));
        if (method.equals("POST") || method.equals("PUT")) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            send(exchange, 200, body.length, new ByteArrayInputStream(body));
        } else if (path.equals("/stream")) {
            exchange.sendResponseHeaders(200, 0);
            exchange.getResponseBody().write(Files.readAllBytes(ROOT.resolve("hello")));
        } else if (!Files.isRegularFile(file)) {
            send(exchange, 404, 5, new ByteArrayInputStream("none\n".getBytes()));
        } else if (method.equals("HEAD")) {
            exchange.getResponseHeaders().set("Content-Length", Long.toString(Files.size(file)));
            exchange.sendResponseHeaders(200, -1);
        } else {
            send(exchange, 200, Files.size(file), Files.newInputStream(file));
        }
        exchange.close();
    }

    private static void send(HttpExchange exchange, int status, long length, InputStream body)
            throws IOException {
        // 0 would mean a chunked body.
        exchange.sendResponseHeaders(status, length == 0 ? -1 : length);
        try (body; OutputStream to = exchange.getResponseBody()) {
            body.transferTo(to);
        }
    }

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Server::answer);
        server.start();
    }
}
