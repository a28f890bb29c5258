// bench/Bulk.java: what bench/client.c inserts in batches, by the bulk of the official Java SDK in gateway mode.
//
//     Bulk URL COUNT       COUNT items after a first run of as many; prints lines "name value"

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.models.CosmosBulkOperationResponse;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.PartitionKey;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;

final class Bulk {
    public static final class Event {
        public String id, deviceId, status = "ok", at = "2026-11-20T00:00:00Z", note;
        public double temperature = 21.5;
        public int humidity = 40;
    }

    static int number = 10000000;

    static CosmosItemOperation operation() {
        Event event = new Event();
        number++;
        event.id = "event-" + number;
        event.deviceId = "device-" + number;
        event.note = number + "n".repeat(48);
        return CosmosBulkOperations.getCreateItemOperation(event, new PartitionKey(event.deviceId));
    }

    static void insert(CosmosContainer events, int count) {
        List<CosmosItemOperation> all = new ArrayList<>(count);
        for (int i = 0; i < count; i++) all.add(operation());
        for (CosmosBulkOperationResponse<Object> one : events.executeBulkOperations(all))
            if (one.getResponse() == null || one.getResponse().getStatusCode() != 201)
                throw new IllegalStateException("not inserted", one.getException());
    }

    public static void main(String[] arguments) {
        int count = Integer.parseInt(arguments[1]);
        System.setProperty("COSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED", "true");
        CosmosClient client =
            new CosmosClientBuilder().endpoint(arguments[0]).key("YmVuY2g=").gatewayMode().buildClient();
        CosmosContainer events = client.getDatabase("bench").getContainer("events");
        OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        insert(events, count);
        long began = System.nanoTime(), before = system.getProcessCpuTime();
        insert(events, count);
        System.out.println("seconds " + (System.nanoTime() - began) / 1e9);
        System.out.println("cpu_us " + (system.getProcessCpuTime() - before) / 1000);
        System.exit(0);
    }
}
