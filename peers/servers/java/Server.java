import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Executors;

/**
 * The JDK's HttpServer as a server: {@code Server KIND PORT RECORD}. The file RECORD gets a line of
 * JSON for each request, when the server has done with it.
 */
public final class Server {
    private static Path record;

    public static void main(String[] args) throws IOException {
        record = Path.of(args[2]);
        int port = Integer.parseInt(args[1]);
        HttpServer server = HttpServer.create(new InetSocketAddress("0.0.0.0", port), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Server::serve);
        server.start();
    }

    private static void serve(HttpExchange exchange) throws IOException {
        // Recorded before the answer: the client's next request is served by another thread.
        try (exchange) {
            String path = exchange.getRequestURI().getPath();
            if (path.startsWith("/early")) {
                write(exchange, new byte[0], "");
                answer(exchange, 413, "too large\n");
                return;
            }
            byte[] body = exchange.getRequestBody().readAllBytes();
            write(exchange, body, "");
            if (path.startsWith("/close")) {
                exchange.getResponseHeaders().set("Connection", "close");
            }
            answer(exchange, 200, exchange.getRequestMethod() + " " + body.length + "\n");
        } catch (IOException error) {
            write(exchange, new byte[0], error.toString());
            throw error;
        }
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(status, head ? -1 : text.length());
        if (!head) {
            exchange.getResponseBody().write(text.getBytes());
        }
    }

    private static synchronized void write(HttpExchange exchange, byte[] body, String problem)
            throws IOException {
        List<String> fields = new ArrayList<>();
        exchange.getRequestHeaders().forEach((name, values) ->
                values.forEach(value -> fields.add(quote(name + ": " + value))));
        fields.sort(null);
        String user = exchange.getRequestHeaders().getFirst("x-user");
        String line = "{\"protocol\":" + quote(exchange.getProtocol())
                + ",\"method\":" + quote(exchange.getRequestMethod())
                + ",\"target\":" + quote(exchange.getRequestURI().toString())
                + ",\"user\":" + quote(user == null ? "" : user)
                + ",\"fields\":[" + String.join(",", fields)
                + "],\"body\":" + quote(summary(body))
                + ",\"error\":" + quote(problem) + "}\n";
        Files.writeString(record, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            boolean plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
            quoted.append(plain ? String.valueOf(c) : String.format("\\u%04x", (int) c));
        }
        return quoted.append('"').toString();
    }

    /** A short body as it is, a long one by its length and checksum. */
    private static String summary(byte[] body) {
        if (body.length <= 200) {
            return new String(body, StandardCharsets.ISO_8859_1);
        }
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(body);
            return body.length + " bytes, SHA-256 " + HexFormat.of().formatHex(sum);
        } catch (java.security.NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }
}
