// SPDX-License-Identifier: Apache-2.0
// java Client.java PROXY-PORT FILE: what HttpClient gets by its proxy, a line each.

import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

public class Client {
  static HttpClient newClient(ProxySelector proxy) {
    return HttpClient.newBuilder().proxy(proxy).connectTimeout(Duration.ofSeconds(10)).build();
  }

  static HttpRequest.Builder to(String uri) {
    return HttpRequest.newBuilder(URI.create(uri)).timeout(Duration.ofSeconds(20));
  }

  static String digest(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  /** Counts what comes until the last piece of a message. */
  static class Counter implements WebSocket.Listener {
    final CompletableFuture<Integer> done = new CompletableFuture<>();
    int size;

    @Override
    public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean last) {
      size += data.remaining();
      if (last) done.complete(size);
      socket.request(1);
      return null;
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
      done.completeExceptionally(error);
    }
  }

  public static void main(String[] arguments) throws Exception {
    ProxySelector proxy = ProxySelector.of(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
    HttpClient client = newClient(proxy);
    for (String uri : List.of("http://nginx/open/big", "http://apache/open/big", "https://tls/open/big")) {
      HttpResponse<byte[]> response = client.send(to(uri).build(), BodyHandlers.ofByteArray());
      System.out.println(uri + " " + response.statusCode() + " " + digest(response.body()));
    }
    HttpRequest up = to("http://node/open/up").expectContinue(true).POST(BodyPublishers.ofFile(Path.of(arguments[1]))).build();
    HttpResponse<String> told = client.send(up, BodyHandlers.ofString());
    System.out.println("up " + told.statusCode() + " " + told.body().replaceFirst(".*\"sha256\":\"([0-9a-f]*)\".*", "$1"));
    System.out.println("closed " + client.send(to("http://node/closed").build(), BodyHandlers.discarding()).statusCode());

    List<CompletableFuture<HttpResponse<String>>> many = new ArrayList<>();
    for (int i = 0; i < 300; ++i) many.add(client.sendAsync(to("http://node/open/" + i).build(), BodyHandlers.ofString()));
    int right = 0;
    for (int i = 0; i < 300; ++i) if (many.get(i).get().body().contains("\"/open/" + i + "\"")) ++right;
    System.out.println("many " + right);

    // By a client of its own: Java's takes a pooled connection of the proxy for one to the back end.
    Counter counter = new Counter();
    WebSocket socket = newClient(proxy).newWebSocketBuilder().buildAsync(URI.create("ws://node/open/socket"), counter).get();
    socket.sendBinary(ByteBuffer.allocate(70000), true).get();
    System.out.println("socket echo of " + counter.done.get());
    socket.abort();
    System.exit(0);
  }
}
