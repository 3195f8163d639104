//! Holdfast's gRPC contract as Rust: what `build.rs` at the root of the
//! workspace generates from `proto/`, and nothing else. No logic belongs here;
//! the meaning of each message and rpc is in the comments of the contract.
//!
//! - [`v1`]: the messages, and a client and a server module per service.
//! - [`FILE_DESCRIPTOR_SET`]: the same contract for gRPC reflection.
//!
//! `google.protobuf` types are those of `prost-types`, `google.rpc.Status` is
//! `tonic_types::Status` (also named `tonic_types::pb::Status`).

/// The package `holdfast.inventory.v1`.
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        elided_lifetimes_in_paths,
        trivial_casts,
        trivial_numeric_casts,
        rustdoc::all,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        reason = "generated code"
    )]

    include!(concat!(env!("OUT_DIR"), "/holdfast.inventory.v1.rs"));
}

/// The encoded `google.protobuf.FileDescriptorSet` of the contract, with all
/// its imports and its comments: what gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/holdfast_descriptor.bin"));
