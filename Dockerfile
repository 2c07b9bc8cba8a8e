# The programs of nbd-server-enhanced for any Linux with glibc 2.31 or later (Ubuntu 20.04, Debian 11), and an image to run
# them from. What comes out lies in /output:
#
#   docker build -t nbd-server-builder .
#   docker create --name nbd-builder nbd-server-builder
#   docker cp nbd-builder:/output/nbd-server-enhanced ./nbd-server-enhanced
#   docker rm nbd-builder
#
# Engines before Docker 23 want DOCKER_BUILDKIT=1 in the environment.
#
# The image: docker build --target runtime -t nbd-server-enhanced .     (packaging/docker has a compose file for it)
#
# Two builds of one commit give the same programs, byte for byte. Whoever wants the bases held to the byte too names them
# with their digests: --build-arg RUST_IMAGE=rust@sha256:… --build-arg RUNTIME_IMAGE=debian@sha256:…

# The toolchain of rust-toolchain.toml on the oldest glibc that is supported. It has all that the build needs: nothing is
# installed, so that this can be repeated when that distribution's archive has moved.
ARG RUST_IMAGE=rust:1.95.0-bullseye
ARG RUNTIME_IMAGE=debian:trixie-20260202-slim

# ----------------------------------------------------------------------------------------------------------------------
FROM ${RUST_IMAGE} AS tools
# Every cache has one user at a time: cargo's own lock lies beside what is cached, and is not shared.
#
# They run for seconds: not worth being optimised, nor being looked into.
ENV CARGO_PROFILE_DEV_DEBUG=none CARGO_INCREMENTAL=0
RUN --mount=type=cache,id=nbd-tools-registry,sharing=locked,target=/usr/local/cargo/registry \
    cargo install --debug --locked --root /tools cargo-deb@3.8.0 cargo-cyclonedx@0.5.9

# ----------------------------------------------------------------------------------------------------------------------
FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Everything but libc's own libraries is inside the programs. rustc asks for libgcc_s whatever it is told; under that name
# it gets the static library.
RUN mkdir /static && echo 'INPUT(-l:libgcc_eh.a -l:libgcc.a)' > /static/libgcc_s.so
# Function names stay, for the backtrace of a panic; the rest of what a debugger wants would be three quarters of the files.
ENV RUSTFLAGS="-L native=/static" CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo
ENV CARGO_PROFILE_DEV_DEBUG=none CARGO_INCREMENTAL=0
# The time of all that is compiled in and packed: a release gives its own.
ARG SOURCE_DATE_EPOCH=1767225600
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY xtask xtask
RUN --mount=type=cache,id=nbd-registry,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,id=nbd-target,sharing=locked,target=/src/target \
    cargo build --release --locked -p server -p nbdctl --bins --features server/vendored \
 && cargo build --locked -p xtask \
 && install -D target/release/nbd-server /src/product/nbd-server-enhanced \
 && install -D target/release/nbdctl /src/product/nbdctl \
 && install -D target/debug/xtask /usr/local/bin/xtask

# What is inside, for whoever must answer that when the next hole is found somewhere.
COPY --from=tools /tools/bin/ /usr/local/bin/
RUN --mount=type=cache,id=nbd-registry,sharing=locked,target=/usr/local/cargo/registry \
    bom() { cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries "$@"; } \
 && bom --manifest-path crates/server/Cargo.toml --features vendored \
 && mv crates/server/nbd-server_bin.cdx.json product/nbd-server-enhanced.cdx.json \
 && bom --manifest-path crates/nbdctl/Cargo.toml \
 && mv crates/nbdctl/nbdctl_bin.cdx.json product/nbdctl.cdx.json

COPY CHANGELOG.md LICENSE-APACHE LICENSE-MIT README.md ./
COPY docs docs
COPY packaging packaging
RUN mkdir --parents product/completions target \
 && product/nbdctl completions bash > product/completions/nbdctl.bash \
 && product/nbdctl completions zsh > product/completions/_nbdctl \
 && product/nbdctl completions fish > product/completions/nbdctl.fish \
 && xtask manual product/man \
 && cp -r packaging/systemd product/systemd \
 && ln -s ../product target/product \
 && cargo deb --no-build --no-strip --package server --output product/ \
 && cd product && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS

# ----------------------------------------------------------------------------------------------------------------------
FROM ${RUNTIME_IMAGE} AS runtime
# tini is PID 1: it ends what hooks leave behind, and hands every signal on.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && groupadd --gid 10809 nbd \
 && useradd --uid 10809 --gid nbd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin nbd \
 && install -d -o nbd -g nbd /run/nbd-server /srv/nbd \
 && install -d /etc/nbd-server/conf.d
COPY --from=build /src/product/nbd-server-enhanced /usr/bin/nbd-server
COPY --from=build /src/product/nbdctl /usr/bin/nbdctl
# Whatever umask the checkout was made with: the server is not root.
COPY --chmod=644 packaging/docker/config /etc/nbd-server/config
# By number, so that it can be seen from outside that this is not root.
USER 10809:10809
# The control socket and the pid file: writable under a root that is not.
VOLUME /run/nbd-server
EXPOSE 10809 9809
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["nbdctl", "--timeout", "4", "status"]
ENTRYPOINT ["tini", "--", "nbd-server"]
CMD ["-n", "-C", "/etc/nbd-server/config", "-p", "/run/nbd-server/pid"]

# ----------------------------------------------------------------------------------------------------------------------
FROM scratch AS output
COPY --from=build /src/product /output
# Never run: `docker create` wants a command.
CMD ["/output/nbd-server-enhanced"]
