import holdfast.inventory.v1.AdminServiceGrpc;
import holdfast.inventory.v1.ConfirmOutcome;
import holdfast.inventory.v1.ConfirmRequest;
import holdfast.inventory.v1.CreateItemRequest;
import holdfast.inventory.v1.InventoryServiceGrpc;
import holdfast.inventory.v1.Item;
import holdfast.inventory.v1.ReserveOutcome;
import holdfast.inventory.v1.ReserveRequest;
import holdfast.inventory.v1.ReserveResponse;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.TimeUnit;

/**
 * Sells the only unit of an item with stubs made from the proto files. Built and
 * run by tests/stubs. Usage: Sell HOST:PORT
 */
public final class Sell {
    private static final String ITEM = "sold-by-java";

    private Sell() {}

    private static String id(int last) {
        return "018f4e6a-3c1d-7b2a-9f00-00000000000" + last;
    }

    private static void check(boolean holds, Object seen) {
        if (!holds) {
            throw new IllegalStateException(String.valueOf(seen));
        }
    }

    private static ReserveRequest ask(int buyer) {
        return ReserveRequest.newBuilder()
                .setItemId(ITEM)
                .setBuyerId("buyer-" + buyer)
                .setRequestId(id(buyer))
                .setQuantity(1)
                .build();
    }

    public static void main(String[] args) {
        ManagedChannel channel = ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build();
        try {
            sell(
                    AdminServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS),
                    InventoryServiceGrpc.newBlockingStub(channel)
                            .withDeadlineAfter(30, TimeUnit.SECONDS));
        } finally {
            channel.shutdownNow();
        }
        System.out.println("sold by Java");
    }

    private static void sell(
            AdminServiceGrpc.AdminServiceBlockingStub admin,
            InventoryServiceGrpc.InventoryServiceBlockingStub inventory) {
        admin.createItem(
                CreateItemRequest.newBuilder()
                        .setItem(Item.newBuilder().setItemId(ITEM))
                        .setInitialStock(1)
                        .setRequestId(id(1))
                        .build());
        ReserveResponse yes = inventory.reserve(ask(2));
        check(yes.getOutcome() == ReserveOutcome.RESERVE_OUTCOME_RESERVED, yes);
        ReserveResponse no = inventory.reserve(ask(3));
        check(no.getOutcome() == ReserveOutcome.RESERVE_OUTCOME_SOLD_OUT, no);
        check(no.hasAvailableUnits() && no.getAvailableUnits() == 0 && no.getHeldUnits() == 1, no);
        ConfirmRequest paid =
                ConfirmRequest.newBuilder()
                        .setReservationId(yes.getReservation().getReservationId())
                        .build();
        ConfirmOutcome outcome = inventory.confirm(paid).getOutcome();
        check(outcome == ConfirmOutcome.CONFIRM_OUTCOME_CONFIRMED, outcome);
        try {
            inventory.reserve(ReserveRequest.newBuilder().setItemId("no such id").build());
            check(false, "it should have been refused");
        } catch (StatusRuntimeException refused) {
            check(refused.getStatus().getCode() == Status.Code.INVALID_ARGUMENT, refused);
        }
    }
}
