// SPDX-License-Identifier: Apache-2.0
// java Cookies.java PROXY-PORT URL: fetches a CSRF token and its cookies, posts them as Java's CookieManager would, and
// prints the status.

import java.net.CookieManager;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

public class Cookies {
  public static void main(String[] arguments) throws Exception {
    InetSocketAddress proxy = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
    HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.of(proxy)).cookieHandler(new CookieManager()).build();
    HttpRequest.Builder to = HttpRequest.newBuilder(URI.create(arguments[1])).timeout(Duration.ofSeconds(20));
    HttpRequest fetch = to.copy().header("X-CSRF-Token", "Fetch").build();
    String token = client.send(fetch, BodyHandlers.discarding()).headers().firstValue("X-CSRF-Token").get();
    HttpRequest post = to.copy().header("X-CSRF-Token", token).POST(BodyPublishers.noBody()).build();
    System.out.print(client.send(post, BodyHandlers.discarding()).statusCode());
    System.exit(0);
  }
}
