import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;

/**
 * The JDK's HttpClient as a client. Each line of standard input is a job in JSON, each line of
 * standard output its record. Jobs run side by side, and each has connections of its own.
 */
public final class Client {
    private static final Duration MAXIMUM_TIME = Duration.ofSeconds(6);

    public static void main(String[] args) {
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            Map<?, ?> job = (Map<?, ?>) Json.read(lines.nextLine());
            new Thread(() -> run(job)).start();
        }
        System.exit(0);
    }

    private static void run(Map<?, ?> job) {
        // By default it offers an upgrade to HTTP/2 with the first request.
        HttpClient.Builder builder = HttpClient.newBuilder();
        if (job.get("protocol").equals("http1")) {
            builder.version(HttpClient.Version.HTTP_1_1);
        }
        HttpClient client = builder.build();
        boolean parallel = (Boolean) job.get("parallel");
        List<CompletableFuture<Object>> answers = new ArrayList<>();
        for (Object call : (List<?>) job.get("calls")) {
            CompletableFuture<Object> answer = perform(client, job, (Map<?, ?>) call);
            answers.add(answer);
            if (!parallel) {
                answer.join();
            }
        }
        List<Object> all = answers.stream().map(CompletableFuture::join).toList();
        String line = Json.write(Map.of("id", job.get("id"), "answers", all));
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    private static CompletableFuture<Object> perform(
            HttpClient client, Map<?, ?> job, Map<?, ?> call) {
        HttpRequest request;
        try {
            int port = ((Number) job.get("port")).intValue();
            URI uri = URI.create("http://" + job.get("host") + ":" + port + call.get("path"));
            HttpRequest.Builder builder = HttpRequest.newBuilder(uri).timeout(MAXIMUM_TIME);
            for (Object header : (List<?>) call.get("headers")) {
                List<?> pair = (List<?>) header;
                builder.header((String) pair.get(0), (String) pair.get(1));
            }
            String body = (String) call.get("body");
            byte[] bytes = body.repeat(((Number) call.get("times")).intValue()).getBytes();
            HttpRequest.BodyPublisher publisher = BodyPublishers.ofByteArray(bytes);
            if (bytes.length == 0) {
                publisher = BodyPublishers.noBody();
            } else if ((Boolean) call.get("without_length")) {
                publisher = BodyPublishers.fromPublisher(publisher);
            }
            request = builder.method((String) call.get("method"), publisher).build();
        } catch (IllegalArgumentException error) {
            return CompletableFuture.completedFuture(Map.of("error", error.toString()));
        }
        return client.sendAsync(request, BodyHandlers.ofByteArray())
                .handle((response, error) -> error == null ? answer(response) : failure(error));
    }

    private static Object answer(HttpResponse<byte[]> response) {
        List<String> fields = response.headers().map().entrySet().stream()
                .flatMap(field -> field.getValue().stream().map(v -> field.getKey() + ": " + v))
                .sorted()
                .collect(Collectors.toList());
        return Map.of(
                "status", response.version() + " " + response.statusCode(),
                "fields", fields,
                "body", summary(response.body()));
    }

    private static Object failure(Throwable error) {
        Throwable cause = error.getCause() == null ? error : error.getCause();
        return Map.of("error", cause.toString());
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
