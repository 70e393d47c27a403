# syntax=docker/dockerfile:1
#
#   docker build -t origin-shim .
#   docker run -p 8080:8080 -v ./origin-shim.toml:/etc/origin-shim/origin-shim.toml:ro \
#     -v origin-shim:/var/lib/origin-shim origin-shim
#
# Set `url = "sqlite:/var/lib/origin-shim/store.db"` under [store] in the configuration. To reach the admin API from
# outside of the container, also set `listen = "0.0.0.0:9180"` under [admin].

FROM rust:1.95.0-bookworm AS build
# Use the image's own toolchain. rust-toolchain.toml would add components for development.
ENV RUSTUP_TOOLCHAIN=1.95.0
ARG ORIGIN_SHIM_COMMIT=""
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked \
    && cp target/dist/origin-shim /usr/local/bin/origin-shim \
    && mkdir /store

# This base has glibc, libgcc and the CA certificates, but no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/origin-shim /usr/local/bin/origin-shim
COPY --from=build --chown=nonroot:nonroot /store /var/lib/origin-shim
ENV ORIGIN_SHIM_CONFIG=/etc/origin-shim/origin-shim.toml
USER nonroot
WORKDIR /var/lib/origin-shim
# Accepted purges are stored here. Without a volume they are lost with the container.
VOLUME /var/lib/origin-shim
EXPOSE 8080 9180
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/origin-shim", "serve", "--probe"]
ENTRYPOINT ["/usr/local/bin/origin-shim"]
CMD ["serve"]
