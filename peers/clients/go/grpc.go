package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"interceptor/peers/message"
)

// Returns what makes a call by gRPC, and what ends the channel.
func (job job) grpc() (func(context.Context, call) answer, func()) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(message.Codec{})),
	}
	if job.Authority != "" {
		options = append(options, grpc.WithAuthority(job.Authority))
	}
	channel, err := grpc.NewClient(fmt.Sprintf("passthrough:///%s:%d", job.Host, job.Port), options...)
	if err != nil {
		return func(context.Context, call) answer { return answer{Error: err.Error()} }, func() {}
	}
	return func(ctx context.Context, call call) answer {
		return stream(ctx, channel, call)
	}, func() { channel.Close() }
}

func stream(ctx context.Context, channel *grpc.ClientConn, call call) answer {
	for _, header := range call.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, header[0], header[1])
	}
	shape := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := channel.NewStream(ctx, shape, call.Path)
	if err != nil {
		return ended(err)
	}
	sent := []byte(strings.Repeat(call.Body, call.Times))
	for range call.Messages {
		// The error is io.EOF; the reason comes with the next message.
		if err := stream.SendMsg(&sent); err != nil {
			break
		}
	}
	stream.CloseSend()
	var got []byte
	for {
		var part []byte
		if err = stream.RecvMsg(&part); err != nil {
			break
		}
		got = append(got, part...)
	}
	if err == io.EOF {
		err = nil
	}
	result := ended(err)
	header, _ := stream.Header()
	result.Fields = message.Fields(header)
	result.Trailers = message.Fields(stream.Trailer())
	result.Body = message.Summary(got)
	return result
}

func ended(err error) answer {
	status := status.Convert(err)
	return answer{Status: status.Code().String(), Error: status.Message()}
}
