//! Decoders against bytes that others wrote: captured on a socket between libnbd, qemu, nbd-client and nbdkit, qemu-nbd,
//! nbd-server 3.24. A round trip alone would prove only that we agree with ourselves.
#![allow(missing_docs)]

use wire::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// Takes one option with its data from the head of a stream.
fn option<'a>(stream: &mut &'a [u8]) -> (OptionKind, &'a [u8]) {
    let header = OptionHeader::decode_slice(&stream[..OptionHeader::SIZE]).expect("an option");
    assert_eq!(header.encode(), stream[..OptionHeader::SIZE]);
    let end = OptionHeader::SIZE + header.length as usize;
    let data = &stream[OptionHeader::SIZE..end];
    *stream = &stream[end..];
    (header.kind, data)
}

/// Takes one reply to an option from the head of a stream.
fn reply<'a>(stream: &mut &'a [u8]) -> (OptionKind, OptionReplyKind, &'a [u8]) {
    let header = OptionReplyHeader::decode_slice(&stream[..OptionReplyHeader::SIZE]).expect("a reply");
    assert_eq!(header.encode(), stream[..OptionReplyHeader::SIZE]);
    let end = OptionReplyHeader::SIZE + header.length as usize;
    let payload = &stream[OptionReplyHeader::SIZE..end];
    *stream = &stream[end..];
    (header.option, header.reply, payload)
}

/// All three servers greet alike.
#[test]
fn a_greeting_is_understood() {
    let bytes = hex("4e42444d41474943 49484156454f5054 0003");
    let greeting = Greeting::decode_slice(&bytes).expect("a greeting");
    assert_eq!(greeting.flags, HandshakeFlags::FIXED_NEWSTYLE.union(HandshakeFlags::NO_ZEROES));
    assert_eq!(greeting.encode(), bytes[..]);
}

/// libnbd (nbdinfo) to qemu-nbd, from its client flags to GO.
#[test]
fn the_options_of_libnbd_are_understood() {
    let bytes = hex("49484156454f5054 00000008 00000000
        49484156454f5054 0000000a 0000001f 00000004 6469736b 00000001 0000000f 626173653a616c6c6f636174696f6e
        49484156454f5054 00000006 00000010 00000004 6469736b 0003 0003 0001 0002
        49484156454f5054 00000007 0000000c 00000004 6469736b 0001 0003
        49484156454f5054 00000009 00000008 00000000 00000000
        49484156454f5054 00000002 00000000");
    let mut stream = &bytes[..];
    assert_eq!(option(&mut stream), (OptionKind::STRUCTURED_REPLY, &[][..]));
    let (kind, data) = option(&mut stream);
    let query = MetaQuery::decode(data).expect("a query");
    assert_eq!(
        (kind, query.name, &query.queries[..]),
        (OptionKind::SET_META_CONTEXT, &b"disk"[..], &[&b"base:allocation"[..]][..])
    );
    assert_eq!(query.encode(), data);
    let (kind, data) = option(&mut stream);
    let wish = InfoRequest::decode(data).expect("a wish");
    assert_eq!((kind, wish.name), (OptionKind::INFO, &b"disk"[..]));
    assert_eq!(wish.wanted, [InfoType::BLOCK_SIZE, InfoType::NAME, InfoType::DESCRIPTION]);
    assert_eq!(wish.encode(), data);
    let (kind, data) = option(&mut stream);
    assert_eq!(
        (kind, InfoRequest::decode(data).expect("a wish").wanted),
        (OptionKind::GO, vec![InfoType::BLOCK_SIZE])
    );
    let (kind, data) = option(&mut stream);
    assert_eq!(kind, OptionKind::LIST_META_CONTEXT);
    assert_eq!(MetaQuery::decode(data).expect("a query").queries.len(), 0);
    assert_eq!(option(&mut stream), (OptionKind::ABORT, &[][..]));
    assert!(stream.is_empty());
}

/// nbd-server 3.24 to nbd-client -l and to nbdinfo: a list, a refusal, INFO.
#[test]
fn the_replies_of_nbd_server_are_understood() {
    let bytes = hex("0003e889045565a9 00000003 00000002 00000008 00000004 6469736b
        0003e889045565a9 00000003 00000001 00000000
        0003e889045565a9 00000008 00000001 00000039
        54686520676976656e206f7074696f6e20697320756e6b6e6f776e20746f20746869732073657276657220696d706c656d656e746174696f6e
        0003e889045565a9 00000007 00000003 0000000c 0000 0000000000040000 0141");
    let mut stream = &bytes[..];
    let (option, kind, payload) = reply(&mut stream);
    let server = ServerReply::decode(payload).expect("a name");
    assert_eq!((option, kind, server.name), (OptionKind::LIST, OptionReplyKind::SERVER, &b"disk"[..]));
    assert_eq!(server.encode(), payload);
    assert_eq!(reply(&mut stream), (OptionKind::LIST, OptionReplyKind::ACK, &[][..]));
    // It acknowledges STRUCTURED_REPLY with a sentence that says the contrary; shape is shape.
    let (option, kind, payload) = reply(&mut stream);
    assert_eq!((option, kind, payload.len()), (OptionKind::STRUCTURED_REPLY, OptionReplyKind::ACK, 57));
    let (_, _, payload) = reply(&mut stream);
    let flags = TransmissionFlags::HAS_FLAGS
        .union(TransmissionFlags::SEND_WRITE_ZEROES)
        .union(TransmissionFlags::CAN_MULTI_CONN);
    assert_eq!(Info::decode(payload), Ok(Info::Export { size: 262_144, flags }));
    let export_name = ExportNameReply::decode(&hex("0000000000040000 0141"), true).expect("an answer");
    assert_eq!((export_name.size, export_name.flags), (262_144, flags));
}

/// qemu-nbd and nbdkit to libnbd: contexts, block sizes, names, an unknown export.
#[test]
fn the_replies_of_qemu_and_nbdkit_are_understood() {
    let bytes = hex("0003e889045565a9 0000000a 00000004 00000013 00000001 626173653a616c6c6f636174696f6e
        0003e889045565a9 00000007 00000003 0000000e 0003 00000001 00001000 02000000
        0003e889045565a9 00000007 00000003 0000000c 0000 0000000000040000 0ded
        0003e889045565a9 00000006 00000003 00000002 0001
        0003e889045565a9 00000006 80000006 00000019 6578706f727420276e6f6e6527206e6f742070726573656e74");
    let mut stream = &bytes[..];
    let (option, kind, payload) = reply(&mut stream);
    let context = MetaContext::decode(payload).expect("a context");
    assert_eq!((option, kind), (OptionKind::SET_META_CONTEXT, OptionReplyKind::META_CONTEXT));
    assert_eq!((context.id, context.name), (ContextId(1), BASE_ALLOCATION.as_bytes()));
    assert_eq!(context.encode(), payload);
    let (_, _, payload) = reply(&mut stream);
    let sizes = Info::decode(payload).expect("block sizes");
    assert_eq!(sizes, Info::BlockSize { min: 1, preferred: 4096, max: 32 << 20 });
    assert_eq!(sizes.encode(), payload);
    let (_, _, payload) = reply(&mut stream);
    let Ok(Info::Export { size, flags }) = Info::decode(payload) else { panic!("an export") };
    assert_eq!((size, flags.0), (262_144, 0x0ded));
    assert!(
        flags.contains(TransmissionFlags::SEND_FAST_ZERO) && flags.contains(TransmissionFlags::SEND_CACHE)
    );
    let (_, _, payload) = reply(&mut stream);
    assert_eq!(Info::decode(payload), Ok(Info::Name(b"")));
    let (_, kind, payload) = reply(&mut stream);
    assert_eq!((kind, payload), (OptionReplyKind::ERR_UNKNOWN, &b"export 'none' not present"[..]));
    assert!(kind.is_error() && stream.is_empty());
}

/// libnbd's requests.
#[test]
fn the_requests_of_libnbd_are_understood() {
    let bytes = hex("25609513 0000 0007 0000000000000001 0000000000000000 00040000");
    let request = Request::decode_slice(&bytes).expect("a request");
    assert_eq!(
        (request.flags, request.command, request.cookie),
        (CommandFlags(0), Command::BLOCK_STATUS, Cookie(1))
    );
    assert_eq!((request.offset, request.length), (0, 262_144));
    assert_eq!(request.encode(), bytes[..]);
    let bytes = hex("25609513 0000 0002 0000000000000002 0000000000000000 00000000");
    assert_eq!(Request::decode_slice(&bytes).expect("a request").command, Command::DISC);
}

/// A simple error of nbd-server; chunks of nbdkit and qemu-nbd: data, block status, errors with and without a sentence.
#[test]
fn foreign_replies_and_chunks_are_understood() {
    let simple = SimpleReply::decode_slice(&hex("67446698 0000001c 000000000000000a")).expect("a reply");
    assert_eq!((simple.error, simple.cookie), (ErrorNumber::ENOSPC, Cookie(10)));
    let chunks = [
        "668e33ef 0001 0001 0000000000000008 00000010 0000000000000000 1111111111111111",
        "668e33ef 0001 0005 000000000000000c 00000014 00000001 00001000 00000000 0003f000 00000003",
        "668e33ef 0001 8001 0000000000000009 00000006 00000016 0000",
        "668e33ef 0001 8001 0000000000000009 0000003c 00000016 0036 6f7065726174696f6e207061737420454f463b2046726f6d3a20
         3236323134342c204c656e3a20382c2053697a653a20323632313434",
    ];
    let bytes = chunks.map(hex);
    let decoded: Vec<(ChunkHeader, Chunk<'_>)> = bytes
        .iter()
        .map(|bytes| {
            let header = ChunkHeader::decode_slice(&bytes[..ChunkHeader::SIZE]).expect("a header");
            assert_eq!(header.encode(), bytes[..ChunkHeader::SIZE]);
            assert_eq!(header.length as usize, bytes.len() - ChunkHeader::SIZE);
            let chunk = Chunk::decode(header.kind, &bytes[ChunkHeader::SIZE..]).expect("a payload");
            let mut again = Vec::new();
            chunk.append_payload(&mut again);
            assert_eq!(again, bytes[ChunkHeader::SIZE..]);
            (header, chunk)
        })
        .collect();
    assert!(decoded.iter().all(|(header, _)| header.flags == ChunkFlags::DONE));
    assert_eq!(decoded[0].1, Chunk::OffsetData { offset: 0, data: &[0x11; 8] });
    let Chunk::BlockStatus { context, descriptors } = &decoded[1].1 else { panic!("{:?}", decoded[1].1) };
    assert_eq!(*context, ContextId(1));
    assert_eq!(
        descriptors[..],
        [Descriptor { len: 4096, status: 0 }, Descriptor { len: 0x3_f000, status: 3 }]
    );
    let Chunk::Error { error, text } = &decoded[2].1 else { panic!("{:?}", decoded[2].1) };
    assert_eq!((*error, text.len()), (ErrorNumber::EINVAL, 0));
    let Chunk::Error { text, .. } = &decoded[3].1 else { panic!("{:?}", decoded[3].1) };
    assert!(text.starts_with(b"operation past EOF"));
}

/// qemu-img to qemu-nbd with extended headers: a map and its answer, whose count of descriptors is left at 0.
#[test]
fn extended_headers_of_qemu_are_understood() {
    let bytes = hex("21e41c71 0008 0007 0000000000000001 0000000000001000 000000000003f000");
    let request = ExtendedRequest::decode_slice(&bytes).expect("a request");
    assert_eq!((request.flags, request.command), (CommandFlags::REQ_ONE, Command::BLOCK_STATUS));
    assert_eq!((request.offset, request.length), (4096, 0x3_f000));
    assert_eq!(request.encode(), bytes[..]);
    let bytes = hex("6e8a278c 0001 0006 0000000000000001 0000000000001000 0000000000000018
        00000001 00000000 000000000003f000 0000000000000003");
    let header = ExtendedChunkHeader::decode_slice(&bytes[..ExtendedChunkHeader::SIZE]).expect("a header");
    assert_eq!((header.kind, header.offset, header.length), (ChunkType::BLOCK_STATUS_EXT, 4096, 24));
    assert_eq!(header.encode(), bytes[..ExtendedChunkHeader::SIZE]);
    let chunk = Chunk::decode(header.kind, &bytes[ExtendedChunkHeader::SIZE..]).expect("a payload");
    let Chunk::BlockStatusExt { descriptors, .. } = &chunk else { panic!("{chunk:?}") };
    assert_eq!(descriptors[..], [DescriptorExt { len: 0x3_f000, status: 3 }]);
    let mut again = Vec::new();
    append_extended_chunk(&mut again, Cookie(1), true, 4096, &chunk);
    let mut counted = bytes.clone();
    counted[ExtendedChunkHeader::SIZE + 7] = 1;
    assert_eq!(again, counted, "ours is filled in, as the specification wants");
}
