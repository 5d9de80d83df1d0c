// SPDX-License-Identifier: Apache-2.0
// java SocksEcho.java PROXY-PORT HOST PORT: sends a line through Java's own SOCKS 5 client, without a login, and prints
// the line that returns.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;

public class SocksEcho {
  public static void main(String[] arguments) throws Exception {
    InetSocketAddress proxy = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
    try (Socket socket = new Socket(new Proxy(Proxy.Type.SOCKS, proxy))) {
      socket.setSoTimeout(20_000);
      socket.connect(InetSocketAddress.createUnresolved(arguments[1], Integer.parseInt(arguments[2])), 20_000);
      socket.getOutputStream().write("hello from Java\n".getBytes());
      System.out.println(new BufferedReader(new InputStreamReader(socket.getInputStream())).readLine());
    }
  }
}
