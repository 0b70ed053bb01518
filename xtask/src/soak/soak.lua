-- Takes the message apart and puts it together again, so that there is something to collect.
function look()
    local lines = {}
    for line in KSR.pv.get("$mb"):gmatch("([^\r]*)\r\n") do
        lines[#lines + 1] = line
    end
    KSR.pv.sets("$avp(msg)", table.concat(lines, "\r\n") .. "\r\n")
end
