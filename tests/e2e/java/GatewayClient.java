// SPDX-License-Identifier: Apache-2.0
// java GatewayClient.java URL FILE: what HttpClient gets from the gateway by plain URLs, a line each.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

public class GatewayClient {
  static HttpRequest.Builder to(String uri) {
    return HttpRequest.newBuilder(URI.create(uri)).timeout(Duration.ofSeconds(20));
  }

  public static void main(String[] arguments) throws Exception {
    String base = arguments[0];
    // It asks for HTTP/2 first, by Upgrade: h2c, as it does by default.
    HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    HttpRequest up = to(base + "/up").expectContinue(true).POST(BodyPublishers.ofFile(Path.of(arguments[1]))).build();
    HttpResponse<String> told = client.send(up, BodyHandlers.ofString());
    System.out.println("up " + told.statusCode() + " " + told.body().replaceFirst(".*\"sha256\": \"([0-9a-f]*)\".*", "$1"));
    List<CompletableFuture<HttpResponse<String>>> many = new ArrayList<>();
    for (int i = 0; i < 300; ++i) many.add(client.sendAsync(to(base + "/n/" + i).build(), BodyHandlers.ofString()));
    int right = 0;
    for (int i = 0; i < 300; ++i) if (many.get(i).get().body().contains("/n/" + i + "\"")) ++right;
    System.out.println("many " + right);
    System.exit(0);
  }
}
