# syntax=docker/dockerfile:1

# The same image as `cargo xtask image` makes:
#
#     docker build --tag interceptor .      # or: buildah build --tag interceptor .
#
# With `--platform linux/arm64`, this machine compiles for the other architecture.
#
# xtask/src/image decides what is in the image; this file only copies it. A test compares entry
# point, labels and compiler version below with those of the project.

# On the building machine, whatever the image's platform: an emulated compiler would be slower.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# Installs missing tools first. The caches keep crates, the kernel linker and earlier builds.
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
