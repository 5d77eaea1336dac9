addtask do_fetch
addtask do_unpack after do_fetch
addtask do_install after do_unpack
addtask do_build after do_install
do_fetch() {
    :
}
do_unpack() {
    :
}
do_install() {
    :
}
do_build() {
    :
}
