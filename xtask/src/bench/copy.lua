-- Leaves the message as it is.
function copy()
    KSR.pv.sets("$avp(msg)", KSR.pv.get("$mb"))
    return 1
end
