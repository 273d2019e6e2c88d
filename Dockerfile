# syntax=docker/dockerfile:1

# The same image as `cargo xtask image` makes without any of this:
#
#     docker build --tag interceptor .                          # or: buildah build --tag interceptor .
#     docker build --tag interceptor --platform linux/arm64 .   # compiled here, for other machines
#
# What is in the image is decided in xtask/src/image, and only copied here. A test sees to it that the entry point, the
# labels and the compiler's version below are those of the project.

# On the machine that builds, whatever the image is for: the compiler is faster than an emulated one.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# Installs what is missing first. The caches save the compiler's and the kernel linker's work of an earlier build.
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/root/.cache/interceptor \
    --mount=type=cache,target=/src/target \
    cargo xtask image --arch "${TARGETARCH:-$(uname -m)}" --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs/ /
LABEL org.opencontainers.image.title="interceptor"
LABEL org.opencontainers.image.description="The node daemon: takes the connections of a pod's port and gives them back"
LABEL org.opencontainers.image.licenses="MIT OR Apache-2.0"
LABEL org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/interceptor"]
