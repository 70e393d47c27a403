# syntax=docker/dockerfile:1
#
#   docker build -t origin-shim .
#   docker run -p 8080:8080 -v ./origin-shim.toml:/etc/origin-shim/origin-shim.toml:ro \
#     -v origin-shim:/var/lib/origin-shim origin-shim
#
# The configuration says `url = "sqlite:/var/lib/origin-shim/store.db"` under [store], and `listen = "0.0.0.0:9180"`
# under [admin] if the admin API is to be reached from outside of the container.

FROM rust:1.95.0-bookworm AS build
# The image's own toolchain, instead of what rust-toolchain.toml adds to it for development.
ENV RUSTUP_TOOLCHAIN=1.95.0
ARG ORIGIN_SHIM_COMMIT=""
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && cp target/release/origin-shim /usr/local/bin/origin-shim \
    && mkdir /store

# glibc, libgcc and the CA certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/origin-shim /usr/local/bin/origin-shim
COPY --from=build --chown=nonroot:nonroot /store /var/lib/origin-shim
ENV ORIGIN_SHIM_CONFIG=/etc/origin-shim/origin-shim.toml
USER nonroot
WORKDIR /var/lib/origin-shim
# Accepted purges live here: without a volume they are lost with the container.
VOLUME /var/lib/origin-shim
EXPOSE 8080 9180
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/origin-shim", "serve", "--probe"]
ENTRYPOINT ["/usr/local/bin/origin-shim"]
CMD ["serve"]
