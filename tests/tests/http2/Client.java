// Sends one request for each user, in turn, by one client with the defaults of the JDK. Prints the
// version of each response and its content.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 1; i < arguments.length; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("x-user", arguments[i])
                    .build();
            var response = client.send(request, BodyHandlers.ofString());
            System.out.println(response.version() + " " + response.body());
        }
    }
}
