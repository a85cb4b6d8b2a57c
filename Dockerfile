# Images of weftd with its command line and the model atlas. deploy/README.md says how to run them.
#
#   docker build -t weft .
#   docker build -t weft:cuda --build-arg DEVICE=cuda .
#
# It needs BuildKit. BASE is Debian 12 in any form; DEVICE=cuda adds the libraries with which LibTorch
# uses an NVIDIA GPU to the same programs.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# For a network that signs TLS anew: where BASE has that authority's certificates.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG CARGO_HTTP_CAINFO
WORKDIR /src
# What is fetched is kept from build to build, in caches and not in layers.
COPY run ./
COPY cmake/libtorch*.txt cmake/
RUN --mount=type=cache,target=/root/.cache,sharing=locked ./run setup
COPY . .
RUN --mount=type=cache,target=/root/.cache,sharing=locked \
    --mount=type=cache,target=/root/.cargo/registry,sharing=locked \
    ./run build weftd weft demo && deploy/image/collect programs /out
ARG DEVICE=cpu
RUN --mount=type=cache,target=/root/.cache,sharing=locked \
    { [ "${DEVICE}" = cpu ] || ./run "${DEVICE}"; } && deploy/image/collect libtorch "${DEVICE}" /out

FROM ${BASE}
# The largest layer and the one that changes least is the first.
COPY --from=build /out/libtorch /opt/weft/libtorch
RUN --mount=type=bind,from=build,source=/out/packages,target=/tmp/packages \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive xargs -a /tmp/packages apt-get install -y --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* && \
    echo /opt/weft/libtorch/torch/lib >/etc/ld.so.conf.d/weft.conf && ldconfig && \
    groupadd --gid 10001 weft && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin weft && \
    install -d -o weft -g weft -m 0700 /data && install -d /models
COPY models/atlas /opt/weft/models/atlas
COPY --from=build /out/weft /opt/weft
ENV PATH=/opt/weft/bin:${PATH}
LABEL org.opencontainers.image.title="Weft" \
      org.opencontainers.image.description="Runs interpretability experiments inside the models that it hosts" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /opt/weft
# Keys and results; everything else may be read-only, with a tmpfs at /tmp.
VOLUME /data
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["weft", "health"]
ENTRYPOINT ["weftd"]
# On loopback: off it weftd wants TLS, or to be told that something before it ends TLS.
CMD ["--data", "/data", "--model", "atlas=/opt/weft/models/atlas"]
