// Sells the only unit of an item with stubs made from the proto files.
// Built and run by tests/stubs. Usage: sell HOST:PORT
package main

import (
	"context"
	"log"
	"os"
	"time"

	pb "holdfast/inventory/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Debian's gRPC brings a protobuf that is older than the stubs that Debian's
// generator makes; a newer gRPC does this by itself.
type codec struct{}

func (codec) Marshal(v interface{}) ([]byte, error) { return proto.Marshal(v.(proto.Message)) }
func (codec) Unmarshal(data []byte, v interface{}) error {
	return proto.Unmarshal(data, v.(proto.Message))
}
func (codec) Name() string { return "proto" }

func init() { encoding.RegisterCodec(codec{}) }

const item = "sold-by-go"

func ids(last string) string { return "018f4e6a-3c1d-7b2a-9f00-00000000000" + last }

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := grpc.DialContext(ctx, os.Args[1], grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	admin, inventory := pb.NewAdminServiceClient(conn), pb.NewInventoryServiceClient(conn)

	stock := int64(1)
	_, err = admin.CreateItem(ctx, &pb.CreateItemRequest{
		Item: &pb.Item{ItemId: item}, InitialStock: &stock, RequestId: ids("1"),
	})
	if err != nil {
		log.Fatal(err)
	}
	yes := reserve(ctx, inventory, "2", pb.ReserveOutcome_RESERVE_OUTCOME_RESERVED)
	no := reserve(ctx, inventory, "3", pb.ReserveOutcome_RESERVE_OUTCOME_SOLD_OUT)
	if no.AvailableUnits == nil || *no.AvailableUnits != 0 || *no.HeldUnits != 1 {
		log.Fatalf("zeros are not told from what is unset: %v", no)
	}
	paid, err := inventory.Confirm(ctx, &pb.ConfirmRequest{
		Target: &pb.ConfirmRequest_ReservationId{ReservationId: yes.Reservation.ReservationId},
	})
	if err != nil || paid.Outcome != pb.ConfirmOutcome_CONFIRM_OUTCOME_CONFIRMED {
		log.Fatal(paid, err)
	}
	_, err = inventory.Reserve(ctx, &pb.ReserveRequest{ItemId: "no such id"})
	if refused := status.Convert(err); refused.Code() != codes.InvalidArgument || len(refused.Details()) == 0 {
		log.Fatalf("not refused with details: %v", err)
	}
	log.Print("sold by Go")
}

func reserve(
	ctx context.Context, inventory pb.InventoryServiceClient, buyer string, expected pb.ReserveOutcome,
) *pb.ReserveResponse {
	reply, err := inventory.Reserve(ctx, &pb.ReserveRequest{
		ItemId: item, BuyerId: "buyer-" + buyer, RequestId: ids(buyer), Quantity: 1,
	})
	if err != nil || reply.Outcome != expected {
		log.Fatal(reply, err)
	}
	return reply
}
