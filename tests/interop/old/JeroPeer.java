// JeroMQ, which shares no code with libzmq, does as it is told; commands as in python_peer.py.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.zeromq.ZMQ;

public class JeroPeer {
    static final int PATIENCE = 20000; // milliseconds that a command waits before it fails
    static final ZMQ.Context context = ZMQ.context(1);
    static final Map<String, ZMQ.Socket> sockets = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        LinkedBlockingQueue<String> lines = new LinkedBlockingQueue<>();
        Thread reader = new Thread(() -> {
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
            try {
                for (String line; (line = input.readLine()) != null; ) lines.add(line);
            } catch (java.io.IOException gone) {
                // as at the end
            }
            Runtime.getRuntime().halt(0);
        });
        reader.setDaemon(true);
        reader.start();
        while (true) {
            String line = lines.poll(10, TimeUnit.MILLISECONDS);
            if (line == null) { // an application that is alive
                for (ZMQ.Socket socket : sockets.values()) socket.getEvents();
                continue;
            }
            Map<String, Object> answer = new LinkedHashMap<>();
            try {
                answer.put("value", carryOut(new Json(line).object()));
            } catch (Throwable error) {
                answer.put("error", error.toString());
            }
            StringBuilder text = new StringBuilder();
            write(text, answer);
            System.out.println(text);
            System.out.flush();
        }
    }

    @SuppressWarnings("unchecked")
    static Object carryOut(Map<String, Object> command) {
        String name = (String) command.get("name");
        ZMQ.Socket socket = name == null ? null : sockets.get(name);
        switch ((String) command.get("op")) {
            case "version":
                return Arrays.asList(ZMQ.getVersionString(), "");
            case "socket":
                socket = context.socket(kind((String) command.get("kind")));
                sockets.put(name, socket);
                socket.setLinger(0);
                socket.setReceiveTimeOut(PATIENCE);
                socket.setSendTimeOut(PATIENCE);
                for (Map.Entry<String, Object> option : ((Map<String, Object>) command.get("options")).entrySet())
                    set(socket, option.getKey(), option.getValue());
                return null;
            case "set":
                set(socket, (String) command.get("option"), command.get("value"));
                return null;
            case "bind":
                return "tcp://127.0.0.1:" + bind(socket, (String) command.get("endpoint"));
            case "connect":
                socket.connect((String) command.get("endpoint"));
                return null;
            case "send": {
                List<byte[]> frames = new ArrayList<>();
                for (Object frame : (List<Object>) command.get("frames")) frames.add(bytes(frame));
                send(socket, frames);
                return null;
            }
            case "receive": {
                Number timeout = (Number) command.get("timeout");
                if (timeout != null) {
                    socket.setReceiveTimeOut(timeout.intValue());
                    byte[] first = socket.recv();
                    socket.setReceiveTimeOut(PATIENCE);
                    return first == null ? null : texts(rest(socket, first));
                }
                return texts(receive(socket));
            }
            case "echo":
                for (int i = ((Number) command.get("count")).intValue(); i > 0; i--) send(socket, receive(socket));
                return null;
            case "converse":
                return converse(socket, bytes(command.get("who")), ((Number) command.get("count")).intValue());
            case "gather":
                return gather(socket, (List<Object>) command.get("topics"));
            case "close":
                sockets.remove(name).close();
                return null;
            case "reset":
                for (ZMQ.Socket one : sockets.values()) one.close();
                sockets.clear();
                return null;
            default:
                throw new IllegalArgumentException("no such command: " + command.get("op"));
        }
    }

    static int kind(String name) {
        switch (name) {
            case "REQ": return ZMQ.REQ;
            case "REP": return ZMQ.REP;
            case "DEALER": return ZMQ.DEALER;
            case "ROUTER": return ZMQ.ROUTER;
            case "PUB": return ZMQ.PUB;
            case "SUB": return ZMQ.SUB;
            case "XPUB": return ZMQ.XPUB;
            case "XSUB": return ZMQ.XSUB;
            case "PUSH": return ZMQ.PUSH;
            case "PULL": return ZMQ.PULL;
            case "PAIR": return ZMQ.PAIR;
            default: throw new IllegalArgumentException(name);
        }
    }

    static void set(ZMQ.Socket socket, String option, Object value) {
        switch (option) {
            case "ROUTING_ID": socket.setIdentity(bytes(value)); break;
            case "SUBSCRIBE": socket.subscribe(bytes(value)); break;
            case "UNSUBSCRIBE": socket.unsubscribe(bytes(value)); break;
            case "RCVHWM": socket.setRcvHWM(((Number) value).longValue()); break;
            case "SNDHWM": socket.setSndHWM(((Number) value).longValue()); break;
            default: throw new IllegalArgumentException(option);
        }
    }

    static int bind(ZMQ.Socket socket, String endpoint) {
        String port = endpoint.substring(endpoint.lastIndexOf(':') + 1);
        for (int attempt = 0; ; attempt++) {
            try {
                int chosen = port.equals("*") ? freePort() : Integer.parseInt(port);
                socket.bind("tcp://127.0.0.1:" + chosen);
                return chosen;
            } catch (RuntimeException taken) {
                if (attempt == 500) throw taken;
                try {
                    Thread.sleep(10);
                } catch (InterruptedException never) {
                    throw taken;
                }
            }
        }
    }

    static int freePort() {
        try (java.net.ServerSocket probe = new java.net.ServerSocket(0)) {
            return probe.getLocalPort();
        } catch (java.io.IOException error) {
            throw new IllegalStateException(error);
        }
    }

    static void send(ZMQ.Socket socket, List<byte[]> frames) {
        for (int i = 0; i < frames.size(); i++)
            if (!socket.send(frames.get(i), i < frames.size() - 1 ? ZMQ.SNDMORE : 0)) throw new IllegalStateException("not sent");
    }

    static List<byte[]> receive(ZMQ.Socket socket) {
        byte[] first = socket.recv();
        if (first == null) throw new IllegalStateException("nothing came");
        return rest(socket, first);
    }

    static List<byte[]> rest(ZMQ.Socket socket, byte[] first) {
        List<byte[]> frames = new ArrayList<>();
        frames.add(first);
        while (socket.hasReceiveMore()) frames.add(socket.recv());
        return frames;
    }

    static int converse(ZMQ.Socket socket, byte[] who, int count) {
        int said = 0, heard = 0;
        long deadline = System.nanoTime() + PATIENCE * 1000000L;
        while (heard < count) {
            int events = socket.getEvents();
            boolean idle = true;
            if ((events & ZMQ.Poller.POLLOUT) != 0 && said < count) {
                send(socket, Arrays.asList(who, bytes(Integer.toString(said++))));
                idle = false;
            }
            if ((events & ZMQ.Poller.POLLIN) != 0) {
                List<Object> answer = texts(receive(socket));
                if (!answer.equals(Arrays.asList(text(who), Integer.toString(heard), "heard")))
                    throw new IllegalStateException("answer " + heard + " is " + answer);
                heard++;
                idle = false;
            }
            if (!idle) deadline = System.nanoTime() + PATIENCE * 1000000L;
            else if (System.nanoTime() > deadline)
                throw new IllegalStateException("said " + said + " and heard " + heard + " of " + count);
            else Thread.onSpinWait();
        }
        return heard;
    }

    static Map<String, Object> gather(ZMQ.Socket socket, List<Object> topics) {
        Map<String, Object> seen = new LinkedHashMap<>();
        for (Object topic : topics) seen.put((String) topic, 0);
        while (true) {
            List<Object> message = texts(receive(socket));
            String topic = (String) message.get(0), number = (String) message.get(1);
            if (number.equals("end")) return seen;
            if (!seen.containsKey(topic) || Integer.parseInt(number) != (Integer) seen.get(topic))
                throw new IllegalStateException(message + " came after " + seen);
            seen.put(topic, (Integer) seen.get(topic) + 1);
        }
    }

    static byte[] bytes(Object text) {
        return ((String) text).getBytes(StandardCharsets.ISO_8859_1);
    }

    static String text(byte[] frame) {
        return new String(frame, StandardCharsets.ISO_8859_1);
    }

    static List<Object> texts(List<byte[]> frames) {
        List<Object> made = new ArrayList<>();
        for (byte[] frame : frames) made.add(text(frame));
        return made;
    }

    static void write(StringBuilder out, Object value) {
        if (value == null || value instanceof Number) {
            out.append(value);
        } else if (value instanceof List) {
            String between = "";
            out.append('[');
            for (Object item : (List<?>) value) {
                out.append(between);
                write(out, item);
                between = ",";
            }
            out.append(']');
        } else if (value instanceof Map) {
            String between = "";
            out.append('{');
            for (Map.Entry<?, ?> item : ((Map<?, ?>) value).entrySet()) {
                out.append(between);
                write(out, item.getKey());
                out.append(':');
                write(out, item.getValue());
                between = ",";
            }
            out.append('}');
        } else {
            out.append('"');
            for (char c : value.toString().toCharArray()) {
                if (c < ' ' || c > '~' || c == '"' || c == '\\') out.append(String.format("\\u%04x", (int) c));
                else out.append(c);
            }
            out.append('"');
        }
    }

    /** Reads what Python's json.dumps writes: ASCII, no fractions. */
    static class Json {
        final String text;
        int at = 0;

        Json(String text) {
            this.text = text;
        }

        char next() { // past blanks
            while (text.charAt(at) == ' ') at++;
            return text.charAt(at);
        }

        Map<String, Object> object() {
            Map<String, Object> made = new LinkedHashMap<>();
            next();
            at++;
            while (next() != '}') {
                String key = string();
                next();
                at++; // the colon
                made.put(key, value());
                if (next() == ',') at++;
            }
            at++;
            return made;
        }

        Object value() {
            char first = next();
            if (first == '{') return object();
            if (first == '"') return string();
            if (first == '[') {
                List<Object> made = new ArrayList<>();
                at++;
                while (next() != ']') {
                    made.add(value());
                    if (next() == ',') at++;
                }
                at++;
                return made;
            }
            if (first == 'n') {
                at += 4;
                return null;
            }
            int start = at;
            while (at < text.length() && "+-0123456789".indexOf(text.charAt(at)) >= 0) at++;
            return Long.parseLong(text.substring(start, at));
        }

        String string() {
            StringBuilder made = new StringBuilder();
            next();
            at++;
            while (text.charAt(at) != '"') {
                char c = text.charAt(at++);
                if (c == '\\') {
                    c = text.charAt(at++);
                    int special = "nrtbf".indexOf(c);
                    if (c == 'u') {
                        c = (char) Integer.parseInt(text.substring(at, at + 4), 16);
                        at += 4;
                    } else if (special >= 0) {
                        c = "\n\r\t\b\f".charAt(special);
                    }
                }
                made.append(c);
            }
            at++;
            return made.toString();
        }
    }
}
