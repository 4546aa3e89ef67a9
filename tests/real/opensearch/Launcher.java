import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.ingest.common.IngestCommonPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node on 127.0.0.1, on a port that is free, until its standard input ends or it is told to stop.
 *
 * Arguments: a directory, empty or of an earlier life, the file that gets the port once it serves, and settings as
 * `name=value`.
 */
public final class Launcher extends Node {
    private static final List<Class<? extends Plugin>> PLUGINS = List.of(
            Netty4Plugin.class, MapperExtrasPlugin.class, CommonAnalysisPlugin.class, IngestCommonPlugin.class,
            ReindexPlugin.class, PainlessPlugin.class);

    private Launcher(Environment environment) {
        super(environment, PLUGINS, true);
    }

    public static void main(String[] arguments) throws Exception {
        Path directory = Path.of(arguments[0]).toAbsolutePath();
        Path portFile = Path.of(arguments[1]).toAbsolutePath();
        Settings.Builder settings = Settings.builder()
                .put("path.home", directory)
                .put("path.data", directory.resolve("data"))
                .put("path.logs", directory.resolve("logs"))
                .put("cluster.name", "sync-agent-test")
                .put("node.name", "node1")
                .put("network.host", "127.0.0.1")
                .put("http.port", "0")
                .put("transport.port", "0")
                .put("discovery.type", "single-node")
                // The disk of a build machine is not the test's affair.
                .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (int at = 2; at < arguments.length; at++) {
            String[] setting = arguments[at].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        Environment environment =
                InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), null, () -> "node1");
        Launcher node = new Launcher(environment);
        node.start();
        int port = node.injector().getInstance(HttpServerTransport.class).boundAddress().publishAddress().getPort();
        // Whoever waits for the file finds the whole number in it.
        Path whole = portFile.resolveSibling("port.new");
        Files.writeString(whole, Integer.toString(port));
        Files.move(whole, portFile, StandardCopyOption.ATOMIC_MOVE);
        // Whoever started it holds the other end: when that is gone, nothing is left running, and nothing is tidied up.
        while (System.in.read() >= 0) {
        }
        Runtime.getRuntime().halt(0);
    }
}
