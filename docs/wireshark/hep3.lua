-- HEPv3, the Homer encapsulation protocol, over UDP port 9060 (docs/hep.md).
--
--   tshark -X lua_script:docs/wireshark/hep3.lua -r hep.pcap -Y hep3

local hep3 = Proto("hep3", "Homer encapsulation protocol, version 3")

local fields = {
    length = ProtoField.uint16("hep3.length", "Length"),
    [0x01] = ProtoField.uint8("hep3.family", "Family", base.DEC, { [2] = "IPv4", [10] = "IPv6" }),
    [0x02] = ProtoField.uint8("hep3.protocol", "IP protocol", base.DEC,
        { [6] = "TCP", [17] = "UDP", [22] = "TLS", [132] = "SCTP" }),
    [0x03] = ProtoField.ipv4("hep3.source", "Source"),
    [0x04] = ProtoField.ipv4("hep3.destination", "Destination"),
    [0x05] = ProtoField.ipv6("hep3.source6", "Source"),
    [0x06] = ProtoField.ipv6("hep3.destination6", "Destination"),
    [0x07] = ProtoField.uint16("hep3.source_port", "Source port"),
    [0x08] = ProtoField.uint16("hep3.destination_port", "Destination port"),
    [0x09] = ProtoField.uint32("hep3.seconds", "Seconds"),
    [0x0a] = ProtoField.uint32("hep3.microseconds", "Microseconds"),
    [0x0b] = ProtoField.uint8("hep3.type", "Protocol type", base.DEC, { [1] = "SIP", [100] = "log" }),
    [0x0c] = ProtoField.uint32("hep3.capture_id", "Capture id"),
    [0x0e] = ProtoField.string("hep3.auth_key", "Key"),
    [0x0f] = ProtoField.bytes("hep3.payload", "Payload"),
    [0x11] = ProtoField.string("hep3.correlation_id", "Correlation id"),
}
local list = {}
for _, field in pairs(fields) do
    list[#list + 1] = field
end
hep3.fields = list

local malformed = ProtoExpert.new("hep3.malformed", "Not well formed", expert.group.MALFORMED,
    expert.severity.ERROR)
hep3.experts = { malformed }

function hep3.dissector(buffer, info, tree)
    if buffer:len() < 6 or buffer(0, 4):string() ~= "HEP3" then
        return 0
    end
    info.cols.protocol = "HEP3"
    local all = tree:add(hep3, buffer())
    all:add(fields.length, buffer(4, 2))
    if buffer(4, 2):uint() ~= buffer:len() then
        all:add_proto_expert_info(malformed)
    end
    local at, kind, payload = 6, nil, nil
    while at + 6 <= buffer:len() do
        local type, len = buffer(at + 2, 2):uint(), buffer(at + 4, 2):uint()
        if len < 6 or at + len > buffer:len() then
            all:add_proto_expert_info(malformed)
            return
        end
        if len > 6 then
            local value = buffer(at + 6, len - 6)
            if type == 0x0b then
                kind = value:uint()
            elseif type == 0x0f then
                payload = value
            end
            if fields[type] then
                all:add(fields[type], value)
            end
        end
        at = at + len
    end
    if payload and kind == 1 then
        Dissector.get("sip"):call(payload:tvb(), info, tree)
    end
end

DissectorTable.get("udp.port"):add(9060, hep3)
